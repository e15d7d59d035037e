#include "hsm/import/certificate_check.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hsm/import/certificate_chain.h"

#define RSA_LEAST_BITS 2048
#define RSA_MOST_BITS 4096

/* What every check sees. Each is one rule of smime.md §8. */
struct check {
	X509 *leaf;
	STACK_OF(X509) * others;
	const char *address;
	bool tls; /* a server's: the address is a host name */
	int64_t now;
	struct certificate_facts *facts;
	struct warnings *warnings;
	struct chain chain;
};

/* ---- address ---- */

static char *name_of(const GENERAL_NAME *name, int type)
{
	const ASN1_IA5STRING *text;

	if (name->type != type)
		return NULL;
	text = name->d.ia5;
	if (ASN1_STRING_length(text) == 0 || memchr(ASN1_STRING_get0_data(text), '\0', (size_t)ASN1_STRING_length(text)) != NULL)
		return NULL;
	return mem_string_n((const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
}

static char **names_of(X509 *certificate, int type, size_t *count)
{
	GENERAL_NAMES *alternative = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int total = sk_GENERAL_NAME_num(alternative);
	char **names = mem_new_array(total > 0 ? (size_t)total : 1, sizeof *names);

	*count = 0;
	for (int i = 0; i < total; i++)
		if ((names[*count] = name_of(sk_GENERAL_NAME_value(alternative, i), type)) != NULL)
			++*count;
	GENERAL_NAMES_free(alternative);
	ERR_clear_error();
	return names;
}

/* RFC 5280 §7.5: the domain in any case, the local part as it is. */
static bool same_domain(const char *a, const char *b)
{
	const char *at_a = strrchr(a, '@'), *at_b = strrchr(b, '@');

	return at_a != NULL && at_b != NULL && at_a - a == at_b - b && strcasecmp(at_a, at_b) == 0;
}

static bool same_address(const char *a, const char *b)
{
	return same_domain(a, b) && strncmp(a, b, (size_t)(strrchr(a, '@') - a)) == 0;
}

/* Wildcards of a whole label alone (RFC 9525 §6.3); the subject's CN is no name. */
static bool names_host(X509 *certificate, const char *host)
{
	return X509_check_host(certificate, host, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
			       NULL) == 1;
}

bool certificate_names_address(X509 *certificate, const char *address)
{
	size_t count = 0;
	char **names;
	bool named = false;

	if (strchr(address, '@') == NULL)
		return names_host(certificate, address);
	names = names_of(certificate, GEN_EMAIL, &count);
	for (size_t i = 0; i < count; i++) {
		named |= same_address(names[i], address);
		free(names[i]);
	}
	free(names);
	return named;
}

static const char *other_case(const struct certificate_facts *facts, const char *address)
{
	for (size_t i = 0; i < facts->n_names; i++)
		if (strcasecmp(facts->names[i], address) == 0)
			return facts->names[i];
	return NULL;
}

static bool check_host(struct check *c, struct err *err)
{
	const struct certificate_facts *facts = c->facts;

	if (facts->n_names == 0)
		return err_set(err, ERR_INVALID, "the certificate names no host (dNSName in subjectAltName)");
	if (names_host(c->leaf, c->address))
		return true;
	return err_set(err, ERR_INVALID, "the certificate is for %s%s, not for %s", facts->names[0],
		       facts->n_names > 1 ? " and others" : "", c->address);
}

static bool check_address(struct check *c, struct err *err)
{
	const struct certificate_facts *facts = c->facts;
	const char *close;

	if (c->tls)
		return check_host(c, err);

	for (const char *at = c->address; *at != '\0'; at++)
		if ((unsigned char)*at >= 0x80)
			return err_set(err, ERR_INVALID,
				       "the address must be ASCII: write its domain as the certificate does (xn--…)");
	if (facts->n_names == 0)
		return err_set(err, ERR_INVALID, "the certificate names no mail address (rfc822Name in subjectAltName)");
	for (size_t i = 0; i < facts->n_names; i++)
		if (same_address(facts->names[i], c->address))
			return true;
	close = other_case(facts, c->address);
	if (close != NULL)
		return err_set(err, ERR_INVALID, "the certificate names %s, which differs from %s in case: register that address",
			       close, c->address);
	return err_set(err, ERR_INVALID, "the certificate is for %s%s, not for %s", facts->names[0],
		       facts->n_names > 1 ? " and others" : "", c->address);
}

/* ---- validity ---- */

static void format_day(char out[static 11], int64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm parts;

	gmtime_r(&time, &parts);
	strftime(out, 11, "%Y-%m-%d", &parts);
}

static bool check_validity(struct check *c, struct err *err)
{
	int64_t from = certificate_seconds(X509_get0_notBefore(c->leaf)), to = certificate_seconds(X509_get0_notAfter(c->leaf));
	char day[11];

	if (from == INT64_MIN || to == INT64_MIN)
		return err_set(err, ERR_INVALID, "the certificate's validity is malformed");
	format_day(day, c->now > to ? to : from);
	if (c->now > to)
		return err_set(err, ERR_INVALID, "the certificate expired on %s", day);
	if (c->now < from)
		return err_set(err, ERR_INVALID, "the certificate is not valid before %s", day);
	return true;
}

/* ---- purpose ---- */

static bool check_extensions(struct check *c, struct err *err)
{
	uint32_t flags = X509_get_extension_flags(c->leaf);

	if ((flags & EXFLAG_INVALID) != 0)
		return err_set(err, ERR_INVALID, "the certificate holds a malformed extension");
	if ((flags & EXFLAG_CA) != 0)
		return err_set(err, ERR_INVALID, "the certificate is a CA's, not a %s's", c->tls ? "server" : "mail address");
	if ((flags & EXFLAG_CRITICAL) != 0)
		warnings_add(c->warnings,
			     "The certificate has a critical extension that common readers do not know; they may reject it.");
	return true;
}

static bool check_server_usage(uint32_t usage, struct err *err)
{
	return usage == UINT32_MAX || (usage & (XKU_SSL_SERVER | XKU_ANYEKU)) != 0 ||
	       err_set(err, ERR_INVALID, "the certificate is not for TLS servers: its extended key usage lacks serverAuth");
}

static bool check_extended_usage(struct check *c, struct err *err)
{
	uint32_t usage = X509_get_extended_key_usage(c->leaf);

	if (c->tls)
		return check_server_usage(usage, err);

	if (usage == UINT32_MAX)
		return err_set(err, ERR_INVALID, "the certificate has no extended key usage: readers want emailProtection");
	if ((usage & XKU_SMIME) != 0)
		return true;
	if ((usage & XKU_ANYEKU) == 0)
		return err_set(err, ERR_INVALID, "the certificate is not for mail: its extended key usage lacks emailProtection");
	warnings_add(c->warnings,
		     "The certificate's extended key usage is anyExtendedKeyUsage alone; some readers want emailProtection.");
	return true;
}

static bool check_usage(struct check *c, struct err *err)
{
	uint32_t usage = X509_get_key_usage(c->leaf);

	if ((usage & KU_DIGITAL_SIGNATURE) != 0 || (!c->tls && (usage & KU_NON_REPUDIATION) != 0))
		return true;
	if (c->tls)
		return err_set(err, ERR_INVALID, "the certificate may not sign handshakes: its key usage lacks digitalSignature");
	return err_set(err, ERR_INVALID,
		       "the certificate may not sign: its key usage has neither digitalSignature nor nonRepudiation");
}

/* ---- key ---- */

static const char *peers(const struct check *c)
{
	return c->tls ? "TLS clients" : "mail readers";
}

static bool check_rsa(struct check *c, EVP_PKEY *key, struct err *err)
{
	int bits = EVP_PKEY_get_bits(key);

	if (bits < RSA_LEAST_BITS)
		return err_set(err, ERR_INVALID, "the key is RSA of %d bits: at least %d are needed", bits, RSA_LEAST_BITS);
	if (bits > RSA_MOST_BITS)
		return err_set(err, ERR_INVALID, "the key is RSA of %d bits: %s take at most %d", bits,
			       c->tls ? "clients" : "readers", RSA_MOST_BITS);
	c->facts->key_type = mem_format("RSA-%d", bits);
	return true;
}

static bool check_ec(struct check *c, EVP_PKEY *key, struct err *err)
{
	static const struct {
		const char *group, *type, *fault;
	} curves[] = {
	    {"prime256v1", "EC-P256", NULL},
	    {"secp384r1", "EC-P384", NULL},
	    {"secp521r1", NULL, "the key is EC P-521, whose signatures some readers show as bad: use P-256 or P-384"},
	};
	char group[64] = "";

	EVP_PKEY_get_group_name(key, group, sizeof group, NULL);
	for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
		if (strcmp(group, curves[i].group) == 0) {
			if (curves[i].fault != NULL)
				return err_set(err, ERR_INVALID, "%s", curves[i].fault);
			c->facts->key_type = mem_string(curves[i].type);
			return true;
		}
	return err_set(err, ERR_INVALID, "the key's curve%s%s is not one that %s take: use P-256 or P-384",
		       group[0] != '\0' ? " " : "", group, peers(c));
}

static bool check_key(struct check *c, struct err *err)
{
	EVP_PKEY *key = X509_get0_pubkey(c->leaf);

	ERR_clear_error();
	if (key == NULL)
		return err_set(err, ERR_INVALID, "the certificate's kind of key is not known");
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return check_rsa(c, key, err);
	case EVP_PKEY_EC:
		return check_ec(c, key, err);
	case EVP_PKEY_RSA_PSS:
		return err_set(err, ERR_INVALID, "the key is bound to RSASSA-PSS, which %s do not verify: use a plain RSA key",
			       peers(c));
	default:
		return err_set(err, ERR_INVALID, "the key is %s, which %s do not verify: use RSA, P-256 or P-384",
			       EVP_PKEY_get0_type_name(key), peers(c));
	}
}

/* ---- chain ---- */

static bool check_signature_algorithm(X509 *certificate, struct err *err)
{
	static const int broken[] = {NID_md2, NID_md4, NID_md5, NID_sha1, NID_md5_sha1};
	int digest = NID_undef;
	char *name;

	X509_get_signature_info(certificate, &digest, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		if (digest == broken[i]) {
			name = certificate_name_text(X509_get_subject_name(certificate));
			err_set(err, ERR_INVALID, "the certificate %s is signed with %s, which readers reject", name,
				OBJ_nid2sn(digest));
			free(name);
			return false;
		}
	return true;
}

static void warn_of_chain(struct check *c)
{
	const struct chain *chain = &c->chain;
	size_t total = 0;

	for (size_t i = 0; i < c->facts->n_chain; i++)
		total += c->facts->chain[i].len;
	if (total > CHAIN_WARN_BYTES && !c->tls)
		warnings_add(c->warnings, "The chain has %zu octets, which every signed mail carries.", total);
	if (X509_NAME_cmp(X509_get_subject_name(c->leaf), X509_get_issuer_name(c->leaf)) == 0)
		warnings_add(c->warnings, "The certificate is self-signed: %s will not trust it by themselves.", peers(c));
	else if (chain->count == 1 && !chain->reached_root)
		warnings_add(c->warnings,
			     "The file does not hold the issuer's certificate (%s): %s that lack it cannot check the chain.",
			     c->facts->issuer, peers(c));
}

static void keep_der(struct bytes *out, X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);

	*out = bytes_of(mem_copy(der, len > 0 ? (size_t)len : 0), len > 0 ? (size_t)len : 0);
	OPENSSL_free(der);
}

static bool check_chain(struct check *c, struct err *err)
{
	struct certificate_facts *facts = c->facts;

	if (!chain_build(c->leaf, c->others, c->now, &c->chain, err))
		return false;
	facts->chain = mem_new_array(c->chain.count, sizeof *facts->chain);
	facts->not_before = INT64_MIN;
	facts->not_after = INT64_MAX;
	for (size_t i = 0; i < c->chain.count; i++) {
		X509 *certificate = c->chain.certificates[i];
		int64_t from = certificate_seconds(X509_get0_notBefore(certificate));
		int64_t to = certificate_seconds(X509_get0_notAfter(certificate));

		if (!check_signature_algorithm(certificate, err))
			return false;
		keep_der(&facts->chain[facts->n_chain++], certificate);
		facts->not_before = from > facts->not_before ? from : facts->not_before;
		facts->not_after = to < facts->not_after ? to : facts->not_after;
	}
	warn_of_chain(c);
	return true;
}

/* ---- all of it ---- */

static char *serial_text(const X509 *certificate)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *hex = number != NULL ? BN_bn2hex(number) : NULL;
	char *text = mem_string(hex != NULL ? hex : "");

	for (char *at = text; *at != '\0'; at++)
		*at = (char)(*at >= 'A' && *at <= 'F' ? *at - 'A' + 'a' : *at);
	OPENSSL_free(hex);
	BN_free(number);
	return text;
}

static void describe(X509 *leaf, bool tls, struct certificate_facts *facts)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	X509_digest(leaf, EVP_sha256(), digest, &len);
	facts->fingerprint = mem_new(2 * (size_t)len + 1);
	hex_encode(facts->fingerprint, bytes_of(digest, len));
	facts->names = names_of(leaf, tls ? GEN_DNS : GEN_EMAIL, &facts->n_names);
	facts->subject = certificate_name_text(X509_get_subject_name(leaf));
	facts->issuer = certificate_name_text(X509_get_issuer_name(leaf));
	facts->serial = serial_text(leaf);
}

bool certificate_check(X509 *leaf, STACK_OF(X509) * others, const char *address, enum key_purpose purpose, int64_t now,
		       struct certificate_facts *facts, struct warnings *warnings, struct err *err)
{
	static bool (*const checks[])(struct check * c, struct err * err) = {
	    check_extensions, check_address, check_validity, check_extended_usage, check_usage, check_key, check_chain,
	};
	struct certificate_facts found = {0};
	struct check c = {.leaf = leaf,
			  .others = others,
			  .address = address,
			  .tls = purpose == KEY_PURPOSE_TLS,
			  .now = now,
			  .facts = &found,
			  .warnings = warnings};

	describe(leaf, c.tls, &found);
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
		if (!checks[i](&c, err)) {
			certificate_facts_clear(&found);
			return false;
		}
	*facts = found;
	return true;
}
