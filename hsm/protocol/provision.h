/*
 * One provisioning task between the console and inkan-hsm's role provision: the console sends one task frame, gets any
 * number of PROGRESS frames and then one RESULT (whose payload belongs to the task) or ERROR. Passwords and the PKCS#12
 * travel only on this socket pair. A descriptor that comes with the task frame is held until the process ends: a lock that
 * tells others that the task may still be at work. After ERROR nothing that the task made is left on the token,
 * unless it says so.
 * Codecs are pure; decoded structs own their memory and are released with _clear,
 * which wipes.
 */
#ifndef INKAN_HSM_PROTOCOL_PROVISION_H
#define INKAN_HSM_PROTOCOL_PROVISION_H

#include "appliance/base/msg.h"

#define PROVISION_PKCS12_MAX_BYTES (1u << 20)

enum provision_frame {
	PROVISION_FRAME_DESCRIBE = 1, /* empty; RESULT: struct token_description */
	PROVISION_FRAME_INITIALIZE = 2, /* struct initialize_task; RESULT: struct token_description */
	PROVISION_FRAME_IMPORT = 3, /* struct import_task; RESULT: struct import_result */
	PROVISION_FRAME_DELETE = 4, /* bytes CKA_ID; RESULT: u32 number of objects destroyed */
	PROVISION_FRAME_TEST = 5, /* struct worker_certificates (worker.h); RESULT: struct test_results */
	PROVISION_FRAME_REQUEST = 6, /* struct request_task; RESULT: struct request_result */
	PROVISION_FRAME_INSTALL = 7, /* struct install_task; RESULT: struct import_result with the rung "generate", no password */
	PROVISION_FRAME_SEAL = 20, /* struct sealed_secret, in clear; RESULT: bytes sealed. Makes the seal key if there is none */
	PROVISION_FRAME_UNSEAL = 21, /* struct sealed_secret; RESULT: bytes in clear. Next hops' passwords alone */
	PROVISION_FRAME_SWEEP = 8, /* struct sweep_task; RESULT: u32 objects destroyed for each id, then of unfinished ones */
	PROVISION_FRAME_BENCHMARK = 22, /* struct benchmark_task (benchmark.h); RESULT: struct benchmark_results */
	PROVISION_FRAME_CHECKPOINT =
	    24, /* struct checkpoint_task; RESULT: struct checkpoint_result. Makes the audit key if there is none */
	PROVISION_FRAME_PROGRESS = 16, /* text, for a person */
	PROVISION_FRAME_RESULT = 17,
	PROVISION_FRAME_ERROR = 18 /* u8 enum err_code, text: what is wrong and what to do, one line; u8 1: a key may be left */
};

struct token_description {
	char *module; /* path */
	char *library; /* manufacturer and version of the module */
	char *label;
	char *manufacturer;
	char *model;
	char *serial;
	char *firmware;
	bool present; /* a token of the configured label was found; else the rest below is empty */
	bool initialized;
	bool user_pin_set;
	bool logged_in; /* the PIN was given and accepted, so that what follows was really tried */
	bool pin_count_low, pin_final_try, pin_locked;
	int64_t free_private_memory; /* bytes, -1 unknown */
	int64_t max_sessions; /* 0 unlimited, -1 unknown */
	char **mechanisms; /* the ones that matter to Inkan, by their CKM_ names */
	size_t n_mechanisms;
	char *import_rung; /* the rung that an AES-encrypted PKCS#12 would take here, tried with a throw-away key; "" unknown */
	char *seal; /* mechanism of the seal key: "AES-256-GCM", "AES-256-CBC-PAD + HMAC-SHA256", "" none yet */
	uint32_t private_keys;
};

struct initialize_task {
	char *label;
	struct bytes so_pin, user_pin;
};

#define PROVISION_KEY_ID_BYTES 20 /* of the CKA_ID that the console chooses at random: it can find a key that nobody finished */

struct import_task {
	char *address;
	struct bytes pkcs12;
	struct bytes password; /* UTF-8; may be empty */
	int64_t now; /* seconds since 1970 */
	struct bytes seal_context; /* authenticated with the sealed password (GCM AAD) */
	struct bytes key_id; /* PROVISION_KEY_ID_BYTES */
	bool password_sealed; /* `password` is what an earlier import of the address returned as sealed_password */
	char *fingerprint; /* of the certificate that it must be (SHA-256, hexadecimal); "" or NULL: any */
	bool tls; /* a TLS server's: `address` is a host name (dNSName) */
};

/* What CKA_* say of a private key, read back from the token. */
struct key_attributes {
	bool sensitive, extractable, local, always_sensitive, never_extractable;
	uint32_t known, set; /* these and further ones, a bit each of key_attributes_put's list: has the token said, and what */
};

/* The attributes known, in order: "token private sensitive !extractable …", `!` before one that is false. Appended. */
void key_attributes_put(struct buf *out, const struct key_attributes *attributes);

/* The CKA_ numbers behind the bits, for who reads them: bit N is key_attribute_types[N]. */
#define KEY_ATTRIBUTES 16
extern const unsigned long key_attribute_types[KEY_ATTRIBUTES];

enum key_purpose { KEY_PURPOSE_MAIL = 1, KEY_PURPOSE_TLS = 2 };

#define REQUEST_DNS_NAMES_MAX 100 /* beside `name`; public CAs take no more in a certificate */

/* A key pair that is born on the token, and the request for its certificate (PKCS#10). */
struct request_task {
	enum key_purpose purpose;
	char *name; /* mail address (rfc822Name), or host name (dNSName) with KEY_PURPOSE_TLS */
	char *key_type; /* "rsa2048", "rsa3072", "rsa4096", "p256", "p384" */
	struct bytes key_id; /* PROVISION_KEY_ID_BYTES */
	char **dns_names; /* further host names (dNSName), at most REQUEST_DNS_NAMES_MAX; with KEY_PURPOSE_TLS alone */
	size_t n_dns_names;
};

struct request_result {
	struct bytes csr; /* DER, signed by the key */
	char *key_type; /* "RSA-2048", "EC-P256", … */
	struct key_attributes attributes;
};

/* Keys that were broken off. */
#define SWEEP_MAX_KEYS 256 /* of one task */

struct sweep_task {
	struct bytes *key_ids;
	size_t count;
};

/* The certificate that a CA made of a request. */
struct install_task {
	enum key_purpose purpose;
	char *name;
	struct bytes key_id; /* the request's */
	struct bytes csr; /* the request, DER */
	struct bytes certificates; /* PEM, DER or PKCS#7 with the certificate and its intermediates */
	int64_t now; /* seconds since 1970 */
};

struct certificate_facts {
	struct bytes *chain; /* DER, leaf first, intermediates, no root */
	size_t n_chain;
	char **names; /* rfc822Name of the leaf; dNSName of a TLS server's */
	size_t n_names;
	char *subject, *issuer, *serial; /* RFC 4514 text; serial in hexadecimal */
	char *fingerprint; /* SHA-256 of the leaf, hexadecimal */
	char *key_type; /* "RSA-2048", "EC-P256", "EC-P384" */
	int64_t not_before, not_after; /* of the chain: latest start, earliest end */
};

struct import_result {
	struct certificate_facts facts;
	struct bytes key_id; /* CKA_ID: the task's */
	char *rung; /* "unwrap-token-kek", "unwrap-host-kek", "rewrap", "create"; "generate" of a key born on the token */
	struct key_attributes attributes;
	struct bytes sealed_password; /* opaque to everybody but inkan-hsm */
	char **warnings; /* one line each */
	size_t n_warnings;
};

struct test_result {
	uint64_t certificate;
	bool passed;
	uint32_t milliseconds;
	char *text; /* what failed, or where it was verified */
};

/* A checkpoint of the audit chain, which the token's audit key signs (appliance/base/checkpoint_text.h). */
struct checkpoint_task {
	uint64_t rows;
	int64_t time_ms;
	uint8_t hash[32]; /* of the last of them */
};

struct checkpoint_result {
	struct bytes public_key; /* SubjectPublicKeyInfo, DER */
	struct bytes signature; /* SHA-256; RSASSA-PKCS1-v1_5 or ECDSA-Sig-Value */
	bool made; /* the key is new */
};

struct test_results {
	struct test_result *items;
	size_t count;
};

/* Context of next hops' passwords, the next hop's name behind it: the only secrets that a task gives out again. */
#define PROVISION_NEXT_HOP_CONTEXT "next-hop "

struct sealed_secret {
	struct bytes context; /* authenticated with it */
	struct bytes secret; /* in clear, or sealed */
};

/* Views into the message. */
void sealed_secret_encode(struct buf *out, const struct sealed_secret *sealed);
bool sealed_secret_decode(struct msg *msg, struct sealed_secret *sealed, struct err *err) MUST_USE;

void token_description_encode(struct buf *out, const struct token_description *description);
bool token_description_decode(struct msg *msg, struct token_description *description, struct err *err) MUST_USE;
void token_description_clear(struct token_description *description);

void initialize_task_encode(struct buf *out, const struct initialize_task *task);
bool initialize_task_decode(struct msg *msg, struct initialize_task *task, struct err *err) MUST_USE;
void initialize_task_clear(struct initialize_task *task);

void certificate_facts_clear(struct certificate_facts *facts);

void import_task_encode(struct buf *out, const struct import_task *task);
bool import_task_decode(struct msg *msg, struct import_task *task, struct err *err) MUST_USE;
void import_task_clear(struct import_task *task);

void request_task_encode(struct buf *out, const struct request_task *task);
bool request_task_decode(struct msg *msg, struct request_task *task, struct err *err) MUST_USE;
void request_task_clear(struct request_task *task);

void request_result_encode(struct buf *out, const struct request_result *result);
bool request_result_decode(struct msg *msg, struct request_result *result, struct err *err) MUST_USE;
void request_result_clear(struct request_result *result);

void sweep_task_encode(struct buf *out, const struct sweep_task *task);
bool sweep_task_decode(struct msg *msg, struct sweep_task *task, struct err *err) MUST_USE;
void sweep_task_clear(struct sweep_task *task);

void install_task_encode(struct buf *out, const struct install_task *task);
bool install_task_decode(struct msg *msg, struct install_task *task, struct err *err) MUST_USE;
void install_task_clear(struct install_task *task);

void import_result_encode(struct buf *out, const struct import_result *result);
bool import_result_decode(struct msg *msg, struct import_result *result, struct err *err) MUST_USE;
void import_result_clear(struct import_result *result);

void checkpoint_task_encode(struct buf *out, const struct checkpoint_task *task);
bool checkpoint_task_decode(struct msg *msg, struct checkpoint_task *task, struct err *err) MUST_USE;

void checkpoint_result_encode(struct buf *out, const struct checkpoint_result *result);
bool checkpoint_result_decode(struct msg *msg, struct checkpoint_result *result, struct err *err) MUST_USE;
void checkpoint_result_clear(struct checkpoint_result *result);

void test_results_encode(struct buf *out, const struct test_results *results);
bool test_results_decode(struct msg *msg, struct test_results *results, struct err *err) MUST_USE;
void test_results_clear(struct test_results *results);

#endif
