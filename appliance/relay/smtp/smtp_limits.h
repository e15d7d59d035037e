/* The fixed limits of the SMTP server, with units. What an operator may change is in config_server.limits. */
#ifndef INKAN_RELAY_SMTP_LIMITS_H
#define INKAN_RELAY_SMTP_LIMITS_H

#define SMTP_ADDRESS_MAX_BYTES 254 /* a mailbox; RFC 5321 §4.5.3.1.3: 256 with the brackets */
#define SMTP_LABEL_MAX_BYTES 63 /* of a domain; RFC 1035 §2.3.4 */
#define SMTP_HELLO_MAX_BYTES 255 /* argument of EHLO; RFC 5321 §4.5.3.1.2 */
#define SMTP_PARAMS_MAX 16 /* of one MAIL or RCPT */
#define SMTP_REPLY_LINE_MAX_BYTES 512 /* with its CRLF; RFC 5321 §4.5.3.1.5 */
#define SMTP_INPUT_MAX_BYTES 65536 /* of one session, received and not yet used */
#define SMTP_OUTPUT_MAX_BYTES 65536 /* of one session, not yet taken by the client: no command is read meanwhile */
#define SMTP_USER_MAX_BYTES 255 /* RFC 4616 §2 */
#define SMTP_PASSWORD_MAX_BYTES 255 /* RFC 4616 §2 */
#define SMTP_AUTH_CHECKS_MAX 32 /* passwords that are being hashed at a time: 454 beyond */
#define SMTP_LOGIN_WAIT_MAX_MS 300000 /* of a client that failed to log in again and again: doubled each time up to this */
#define SMTP_LOGIN_MEMORY_MS 900000 /* failures are forgotten after this */
#define SMTP_INTERVAL_WAIT_MAX_MS 60000 /* that a message may wait for `receive-interval`; beyond: 450 */
#define SMTP_CLOSE_MS 5000 /* for the client to take the last reply and close */
#define SMTP_ACCEPT_PAUSE_MS 1000 /* after accept(2) failed, as it does without descriptors */

#endif
