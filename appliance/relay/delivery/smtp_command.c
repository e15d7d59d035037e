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
	if (message->smtputf8)
		return "8BITMIME"; /* its header may hold UTF-8 (RFC 6531 §3.6) */
	return rendering == QUEUE_SIGNED || message->body_type == QUEUE_7BIT ? "7BIT" : "8BITMIME";
}

void smtp_command_mail(struct buf *out, const struct queue_stored *message, enum queue_rendering rendering, uint64_t size,
		       const struct smtp_capabilities *capabilities)
{
	buf_printf(out, "MAIL FROM:<%s>", message->sender);
	if (capabilities->size)
		buf_printf(out, " SIZE=%llu", (unsigned long long)size);
	if (capabilities->eight_bit)
		buf_printf(out, " BODY=%s", body_parameter(message, rendering));
	if (capabilities->smtputf8 && message->smtputf8)
		buf_put_text(out, " SMTPUTF8");
	if (capabilities->dsn && message->ret != QUEUE_RETURN_DEFAULT)
		buf_put_text(out, message->ret == QUEUE_RETURN_FULL ? " RET=FULL" : " RET=HDRS");
	if (capabilities->dsn && message->envelope_id != NULL)
		buf_printf(out, " ENVID=%s", message->envelope_id);
	buf_put_text(out, "\r\n");
}

static void put_notify(struct buf *out, uint32_t notify)
{
	static const struct {
		uint32_t bit;
		const char *word;
	} words[] = {{QUEUE_NOTIFY_NEVER, "NEVER"},
		     {QUEUE_NOTIFY_SUCCESS, "SUCCESS"},
		     {QUEUE_NOTIFY_FAILURE, "FAILURE"},
		     {QUEUE_NOTIFY_DELAY, "DELAY"}};
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if ((notify & words[i].bit) == 0)
			continue;
		buf_printf(out, "%s%s", before, words[i].word);
		before = ",";
	}
}

void smtp_command_rcpt(struct buf *out, const struct group_recipient *recipient, const struct smtp_capabilities *capabilities)
{
	buf_printf(out, "RCPT TO:<%s>", recipient->address);
	if (capabilities->dsn) {
		put_notify(out, recipient->notify);
		if (recipient->original != NULL)
			buf_printf(out, " ORCPT=%s", recipient->original);
	}
	buf_put_text(out, "\r\n");
}
