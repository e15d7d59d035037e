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

bool domain_equal(const char *a, const char *b)
{
	char *left = NULL, *right = NULL;
	bool equal;

	if (is_ascii(a) && is_ascii(b))
		return strcasecmp(a, b) == 0;
	equal = idn2_to_ascii_8z(a, &left, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK &&
		idn2_to_ascii_8z(b, &right, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK && strcasecmp(left, right) == 0;
	idn2_free(left);
	idn2_free(right);
	return equal || strcmp(a, b) == 0;
}
