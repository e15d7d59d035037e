#include "appliance/relay/signing/received.h"

#include "appliance/base/clock.h"

void received_field(struct buf *out, const struct received_facts *facts)
{
	char date[CLOCK_RFC5322_BYTES];

	if (facts->mode == CONFIG_RECEIVED_NONE)
		return;
	clock_rfc5322(date, facts->time);
	buf_put_text(out, "Received: ");
	if (facts->mode == CONFIG_RECEIVED_NORMAL)
		buf_printf(out, "from %s\r\n\t", facts->client);
	buf_printf(out, "by %s with %s id %s", facts->by, facts->protocol, facts->id);
	if (facts->mode == CONFIG_RECEIVED_NORMAL && facts->recipient != NULL)
		buf_printf(out, "\r\n\tfor <%s>", facts->recipient);
	buf_printf(out, ";\r\n\t%s\r\n", date);
}
