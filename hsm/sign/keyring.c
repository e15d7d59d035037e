#include "hsm/token/object.h"
#include "hsm/sign/keyring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "hsm/sign/handshake.h"

/* Only its holder of the lock takes an entry out of KEY_UNLOADED; KEY_LOADED is for good. */
enum key_state { KEY_UNLOADED, KEY_LOADED, KEY_MISSING };

struct keyring_entry {
	uint64_t certificate;
	bool tls; /* signs handshakes, no mail */
	struct token *token;
	struct cms_identity *identity; /* NULL: the certificate is not usable */
	struct buf key_id;
	struct buf chain; /* every certificate of it, one behind the other: to see whether it is the same */
	struct err why; /* there is no identity, or no key */
	pthread_mutex_t lock; /* held while the key is looked for; guards why */
	_Atomic(enum key_state) state;
	struct token_key *key;
	atomic_uint references;
};

struct keyring {
	struct token *token;
	struct keyring_entry **entries; /* by certificate */
	size_t count;
	size_t turn; /* of keyring_next_loaded */
};

static void entry_free(struct keyring_entry *entry)
{
	token_key_free(entry->key);
	cms_identity_free(entry->identity);
	buf_clear(&entry->key_id);
	buf_clear(&entry->chain);
	pthread_mutex_destroy(&entry->lock);
	free(entry);
}

void keyring_release(struct keyring_entry *entry)
{
	if (entry != NULL && atomic_fetch_sub(&entry->references, 1) == 1)
		entry_free(entry);
}

static void put_chain(struct buf *out, const struct worker_certificate *certificate)
{
	for (size_t i = 0; i < certificate->n_chain; i++)
		buf_put_bytes(out, certificate->chain[i]);
}

static struct keyring_entry *entry_new(struct token *token, const struct worker_certificate *certificate)
{
	struct keyring_entry *entry = mem_new(sizeof *entry);

	entry->certificate = certificate->id;
	entry->tls = certificate->tls;
	entry->token = token;
	if (key_id_is_audit(certificate->key_id))
		err_set(&entry->why, ERR_DENIED, "the audit key of the token signs neither mail nor TLS");
	else
		entry->identity = cms_identity_new(certificate->chain, certificate->n_chain, &entry->why);
	atomic_init(&entry->state, entry->identity != NULL ? KEY_UNLOADED : KEY_MISSING);
	buf_put_bytes(&entry->key_id, certificate->key_id);
	put_chain(&entry->chain, certificate);
	pthread_mutex_init(&entry->lock, NULL);
	atomic_init(&entry->references, 1);
	return entry;
}

struct keyring *keyring_new(struct token *token)
{
	struct keyring *keyring = mem_new(sizeof *keyring);

	keyring->token = token;
	return keyring;
}

static void release_all(struct keyring_entry **entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		keyring_release(entries[i]);
	free(entries);
}

static int compare_entries(const void *a, const void *b)
{
	uint64_t x = (*(struct keyring_entry *const *)a)->certificate, y = (*(struct keyring_entry *const *)b)->certificate;

	return (x > y) - (x < y);
}

static struct keyring_entry *lookup(struct keyring *keyring, uint64_t certificate)
{
	struct keyring_entry wanted = {.certificate = certificate}, *key = &wanted, **found;

	if (keyring->count == 0)
		return NULL;
	found = bsearch(&key, keyring->entries, keyring->count, sizeof *keyring->entries, compare_entries);
	return found != NULL ? *found : NULL;
}

static struct keyring_entry *retain(struct keyring_entry *entry)
{
	if (entry != NULL)
		atomic_fetch_add(&entry->references, 1);
	return entry;
}

static bool is_same(const struct keyring_entry *entry, const struct worker_certificate *certificate)
{
	struct buf chain = {0};
	bool same;

	put_chain(&chain, certificate);
	same = entry->tls == certificate->tls && bytes_equal(buf_bytes(&entry->key_id), certificate->key_id) &&
	       bytes_equal(buf_bytes(&entry->chain), buf_bytes(&chain));
	buf_clear(&chain);
	return same;
}

static void look_again(struct keyring_entry *entry)
{
	enum key_state missing = KEY_MISSING;

	if (entry->identity != NULL)
		atomic_compare_exchange_strong(&entry->state, &missing, KEY_UNLOADED);
}

void keyring_replace(struct keyring *keyring, const struct worker_certificates *certificates)
{
	struct keyring_entry **entries = mem_new_array(certificates->count + 1, sizeof *entries);

	for (size_t i = 0; i < certificates->count; i++) {
		const struct worker_certificate *certificate = &certificates->items[i];
		struct keyring_entry *earlier = lookup(keyring, certificate->id);

		if (earlier != NULL && is_same(earlier, certificate)) {
			look_again(earlier);
			entries[i] = retain(earlier);
		} else {
			entries[i] = entry_new(keyring->token, certificate);
		}
	}
	qsort(entries, certificates->count, sizeof *entries, compare_entries);
	release_all(keyring->entries, keyring->count);
	keyring->entries = entries;
	keyring->count = certificates->count;
}

struct keyring_entry *keyring_find(struct keyring *keyring, uint64_t certificate)
{
	return retain(lookup(keyring, certificate));
}

struct keyring_entry *keyring_find_unloaded(struct keyring *keyring)
{
	for (size_t i = 0; i < keyring->count; i++) {
		if (atomic_load(&keyring->entries[i]->state) == KEY_UNLOADED)
			return retain(keyring->entries[i]);
	}
	return NULL;
}

struct keyring_entry *keyring_next_loaded(struct keyring *keyring)
{
	for (size_t i = 0; i < keyring->count; i++) {
		struct keyring_entry *entry = keyring->entries[keyring->turn++ % keyring->count];

		if (atomic_load(&entry->state) == KEY_LOADED)
			return retain(entry);
	}
	return NULL;
}

struct keyring_count keyring_count(struct keyring *keyring)
{
	unsigned counts[] = {[KEY_UNLOADED] = 0, [KEY_LOADED] = 0, [KEY_MISSING] = 0};

	for (size_t i = 0; i < keyring->count; i++)
		counts[atomic_load(&keyring->entries[i]->state)]++;
	return (struct keyring_count){
	    .loaded = counts[KEY_LOADED], .missing = counts[KEY_MISSING], .unloaded = counts[KEY_UNLOADED]};
}

static void load_locked(struct keyring_entry *entry, enum token_fault *fault, struct err *err)
{
	entry->key = token_load_key(entry->token, buf_bytes(&entry->key_id), cms_identity_key(entry->identity), fault, err);
	if (entry->key != NULL) {
		atomic_store(&entry->state, KEY_LOADED);
	} else if (*fault == TOKEN_FAULT_KEY || *fault == TOKEN_FAULT_MECHANISM) {
		err_prefix(err, "certificate %llu", (unsigned long long)entry->certificate);
		entry->why = *err;
		atomic_store(&entry->state, KEY_MISSING);
	}
}

bool keyring_load(struct keyring_entry *entry, enum token_fault *fault, struct err *err)
{
	struct err why = {0};

	if (atomic_load(&entry->state) == KEY_LOADED)
		return true;
	pthread_mutex_lock(&entry->lock);
	*fault = TOKEN_FAULT_KEY;
	if (atomic_load(&entry->state) == KEY_UNLOADED)
		load_locked(entry, fault, &why);
	else
		why = entry->why;
	pthread_mutex_unlock(&entry->lock);
	return atomic_load(&entry->state) == KEY_LOADED || err_set(err, why.code, "%s", why.text);
}

/* The signature of one CMS, for the callback of cms_sign. */
struct stroke {
	struct token_key *key;
	enum token_fault fault;
};

static bool sign_on_token(void *arg, enum sign_digest algorithm, bool pss, struct bytes text, struct buf *signature,
			  struct err *err)
{
	struct stroke *stroke = arg;

	return token_sign_text(stroke->key, algorithm, pss, text, signature, &stroke->fault, err);
}

bool keyring_sign(struct keyring_entry *entry, const struct cms_content *content, struct buf *der, enum token_fault *fault,
		  struct err *err)
{
	struct stroke stroke = {.fault = TOKEN_FAULT_NONE};
	struct err why = {0};
	bool made;

	*fault = TOKEN_FAULT_NONE;
	if (entry->tls)
		return err_set(err, ERR_INVALID, "a TLS key does not sign mail");
	if (!keyring_load(entry, fault, err))
		return false;
	stroke.key = entry->key; /* never changes once it is loaded */
	made = cms_sign(entry->identity, content, sign_on_token, &stroke, der, &why);
	*fault = stroke.fault;
	if (!made && why.code == ERR_INTEGRITY)
		*fault = TOKEN_FAULT_RETRY;
	if (!made)
		return err_set(err, why.code, "%s", why.text);
	return true;
}

bool keyring_sign_tls(struct keyring_entry *entry, const struct sign_request *request, struct buf *signature,
		      enum token_fault *fault, struct err *err)
{
	*fault = TOKEN_FAULT_NONE;
	if (!entry->tls)
		return err_set(err, ERR_INVALID, "a key that signs mail does not serve TLS");
	return keyring_load(entry, fault, err) &&
	       handshake_sign(entry->key, cms_identity_key(entry->identity), request, signature, fault, err);
}

bool keyring_try(struct keyring_entry *entry, const uint8_t random[static 32], enum token_fault *fault, struct err *err)
{
	struct cms_content content = {.algorithm = SIGN_SHA256, .digest = bytes_of(random, 32)};
	struct sign_request request;
	struct buf out = {0};
	bool signed_it;

	if (entry->tls) {
		handshake_example(&request, random);
		signed_it = keyring_sign_tls(entry, &request, &out, fault, err);
	} else {
		signed_it = keyring_sign(entry, &content, &out, fault, err);
	}
	buf_clear(&out);
	return signed_it;
}
