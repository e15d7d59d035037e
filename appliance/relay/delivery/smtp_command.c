#include "appliance/relay/delivery/smtp_command.h"

#include <string.h>

bool smtp_path_safe(const char *address)
{
	bool quoted = false;

	if (strlen(address) > SMTP_PATH_MAX_BYTES)
		return false;
	for (const unsigned char *c = (const unsigned char *)address; *c != '\0'; c++) {
		if (*c < 0x20 || *c == 0x7f)
			return false;
		if (quoted && *c == '\\' && c[1] >= 0x20 && c[1] != 0x7f)
			c++;
		else if (*c == '"')
			quoted = !quoted;
		else if (!quoted && (*c == '<' || *c == '>' || *c == ' '))
			return false;
	}
	return !quoted;
}

bool smtp_path_needs_utf8(const char *address)
{
	for (; *address != '\0'; address++) {
		if ((unsigned char)*address >= 0x80)
			return true;
	}
	return false;
}

static const char *body_parameter(const struct queue_stored *message, enum queue_rendering rendering)
{
	if (rendering == QUEUE_SIGNED || message->body_type == QUEUE_7BIT)
		return "7BIT";
	return "8BITMIME";
}

void smtp_command_mail(struct buf *out, const struct queue_stored *message, enum queue_rendering rendering,
		       const struct smtp_capabilities *capabilities)
{
	uint64_t size = rendering == QUEUE_SIGNED ? message->signed_size : message->plain_size;

	buf_printf(out, "MAIL FROM:<%s>", message->sender);
	if (capabilities->size)
		buf_printf(out, " SIZE=%llu", (unsigned long long)size);
	if (capabilities->eight_bit)
		buf_printf(out, " BODY=%s", body_parameter(message, rendering));
	if (capabilities->smtputf8 && message->smtputf8)
		buf_put_text(out, " SMTPUTF8");
	buf_put_text(out, "\r\n");
}

void smtp_command_rcpt(struct buf *out, const char *address)
{
	buf_printf(out, "RCPT TO:<%s>\r\n", address);
}
