#include "appliance/relay/queue/message.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"

/* Strings and octets are laid one behind the other into one block, so that a copy is three allocations. */
struct block {
	uint8_t *next;
};

static size_t text_size(const char *text)
{
	return text != NULL ? strlen(text) + 1 : 0;
}

static const char *keep_text(struct block *block, const char *text)
{
	char *kept = (char *)block->next;
	size_t size = text_size(text);

	if (text == NULL)
		return NULL;
	memcpy(kept, text, size);
	block->next += size;
	return kept;
}

static struct bytes keep_octets(struct block *block, struct bytes octets)
{
	struct bytes kept = bytes_of(block->next, octets.len);

	if (octets.len > 0)
		memcpy(block->next, octets.data, octets.len);
	block->next += octets.len;
	return kept;
}

static size_t block_size(const struct queue_message *message, const struct queue_recipient *recipients, size_t n_recipients)
{
	size_t size = text_size(message->server) + text_size(message->sender) + text_size(message->envelope_id) +
		      text_size(message->message_id) + text_size(message->header_from) + text_size(message->subject) +
		      text_size(message->sender_ip) + text_size(message->api_data) + message->prefix.len + message->addition.len;

	for (size_t i = 0; i < n_recipients; i++)
		size += text_size(recipients[i].address) + text_size(recipients[i].rule) + text_size(recipients[i].original) +
			text_size(recipients[i].sender);
	return size;
}

static void keep_message(struct block *block, struct queue_message *message)
{
	message->server = keep_text(block, message->server);
	message->sender = keep_text(block, message->sender);
	message->envelope_id = keep_text(block, message->envelope_id);
	message->message_id = keep_text(block, message->message_id != NULL ? message->message_id : "");
	message->header_from = keep_text(block, message->header_from);
	message->subject = keep_text(block, message->subject);
	message->sender_ip = keep_text(block, message->sender_ip);
	message->api_data = keep_text(block, message->api_data);
	message->prefix = keep_octets(block, message->prefix);
	message->addition = keep_octets(block, message->addition);
}

static void keep_recipient(struct block *block, struct queue_recipient *recipient)
{
	recipient->address = keep_text(block, recipient->address);
	recipient->rule = keep_text(block, recipient->rule);
	recipient->original = keep_text(block, recipient->original);
	recipient->sender = keep_text(block, recipient->sender);
}

void message_copy_init(struct message_copy *copy, struct queue *queue, const struct queue_message *message,
		       const struct queue_recipient *recipients, size_t n_recipients)
{
	struct block block;

	*copy = (struct message_copy){
	    .message = *message, .n_recipients = n_recipients, .due = clock_wall_ms() - QUEUE_HEAD_START_MS};
	copy->text = mem_new(block_size(message, recipients, n_recipients) + 1); /* + 1: an absent message_id is kept as "" */
	block.next = copy->text;
	keep_message(&block, &copy->message);
	copy->recipients = mem_new_array(n_recipients, sizeof *copy->recipients);
	copy->recipient_ids = mem_new_array(n_recipients, sizeof *copy->recipient_ids);
	for (size_t i = 0; i < n_recipients; i++) {
		copy->recipients[i] = recipients[i];
		keep_recipient(&block, &copy->recipients[i]);
		copy->recipient_ids[i] = queue_new_id(queue);
	}
}

void message_copy_clear(struct message_copy *copy)
{
	free(copy->text);
	free(copy->recipients);
	free(copy->recipient_ids);
	*copy = (struct message_copy){0};
}
