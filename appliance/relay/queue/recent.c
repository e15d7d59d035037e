#include "appliance/relay/queue/recent.h"

static size_t octets_of(const struct recent_message *message)
{
	size_t octets = 0;

	for (int i = 0; i < RECENT_PARTS; i++)
		octets += message->parts[i].len;
	return octets;
}

static void clear(struct recent_message *message)
{
	for (int i = 0; i < RECENT_PARTS; i++)
		buf_clear(&message->parts[i]);
}

static void drop_oldest(struct recent *recent)
{
	struct recent_message *oldest = &recent->messages[recent->first];

	recent->octets -= octets_of(oldest);
	clear(oldest);
	recent->first = (recent->first + 1) % RECENT_MESSAGES_MAX;
	recent->count--;
}

void recent_keep(struct recent *recent, struct recent_message *message)
{
	size_t octets = octets_of(message);

	if (octets > recent->limit) {
		clear(message);
		return;
	}
	while (recent->count == RECENT_MESSAGES_MAX || recent->octets + octets > recent->limit)
		drop_oldest(recent);
	recent->messages[(recent->first + recent->count) % RECENT_MESSAGES_MAX] = *message;
	recent->octets += octets;
	recent->count++;
}

/* What is delivered at once is among the last. */
const struct recent_message *recent_find(const struct recent *recent, uint64_t id)
{
	for (size_t i = recent->count; i > 0; i--) {
		const struct recent_message *message = &recent->messages[(recent->first + i - 1) % RECENT_MESSAGES_MAX];

		if (message->id == id)
			return message;
	}
	return NULL;
}

void recent_clear(struct recent *recent)
{
	while (recent->count > 0)
		drop_oldest(recent);
}
