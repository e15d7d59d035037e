/* The grammar of SMTP command lines (RFC 5321 §4.1.1, RFC 3030 §2, RFC 4954 §4). Pure: octets in, views out; fuzzed. */
#ifndef INKAN_RELAY_SMTP_SYNTAX_H
#define INKAN_RELAY_SMTP_SYNTAX_H

#include "appliance/relay/smtp/smtp_address.h"

enum smtp_verb {
	SMTP_UNKNOWN,
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BDAT,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_QUIT,
	SMTP_VRFY,
	SMTP_EXPN,
	SMTP_HELP,
	SMTP_AUTH,
	SMTP_STARTTLS,
	SMTP_HTTP, /* a browser that was talked into sending here */
	SMTP_VERBS
};

/* The verb in any case, and the rest of the line without blanks at its ends. */
enum smtp_verb smtp_verb_of(struct bytes line, struct bytes *arguments);

/* EHLO and HELO: any one word of printable or 8-bit octets, since names of Japanese PCs do come here. */
bool smtp_parse_hello(struct bytes arguments, struct bytes *name);

/* esmtp-param = esmtp-keyword ["=" esmtp-value] */
struct smtp_param {
	struct bytes keyword;
	struct bytes value; /* empty: none was given */
};

struct smtp_path {
	char address[SMTP_ADDRESS_MAX_BYTES + 1];
	struct smtp_param params[SMTP_PARAMS_MAX];
	size_t n_params;
};

enum smtp_path_command_result {
	SMTP_PATH_COMMAND_OK,
	SMTP_PATH_COMMAND_FORM, /* not "KEYWORD:<path>" */
	SMTP_PATH_COMMAND_ADDRESS, /* *why says what is wrong with the address */
	SMTP_PATH_COMMAND_PARAM /* not the grammar of parameters, one given twice, or more than SMTP_PARAMS_MAX */
};

/* "FROM:<path> params" and "TO:<path> params"; `keyword` is with its colon. Blanks behind the colon are let pass. */
enum smtp_path_command_result smtp_parse_path_command(struct bytes arguments, const char *keyword, unsigned flags,
						      struct smtp_path *path, enum smtp_path_result *why);

bool smtp_parse_number(struct bytes digits, uint64_t *value); /* 1*20DIGIT that fits */

bool smtp_parse_bdat(struct bytes arguments, uint64_t *octets, bool *last); /* chunk-size [SP "LAST"] */

/* sasl-mech [SP initial-response]; `initial` is {NULL, 0} where none was given. */
bool smtp_parse_auth(struct bytes arguments, struct bytes *mechanism, struct bytes *initial);

#endif
