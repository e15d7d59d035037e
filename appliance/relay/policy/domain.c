#include "appliance/relay/policy/domain.h"

#include <idn2.h>
#include <string.h>
#include <strings.h>

static bool is_ascii(const char *text)
{
	while (*text != '\0' && (unsigned char)*text < 0x80)
		text++;
	return *text == '\0';
}

/*
 * *ascii is the caller's to free. A domain that is ASCII but for characters that IDNA maps to ASCII (fullwidth letters, the
 * ideographic full stop) has none: readers compare what they see with the certificate.
 */
static bool to_ascii(const char *domain, char **ascii)
{
	if (idn2_to_ascii_8z(domain, ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	return is_ascii(domain) || strstr(*ascii, "xn--") != NULL;
}

bool domain_equal(const char *a, const char *b)
{
	char *left = NULL, *right = NULL;
	bool equal;

	if (is_ascii(a) && is_ascii(b))
		return strcasecmp(a, b) == 0;
	equal = to_ascii(a, &left) && to_ascii(b, &right) && strcasecmp(left, right) == 0;
	idn2_free(left);
	idn2_free(right);
	return equal || strcmp(a, b) == 0;
}
