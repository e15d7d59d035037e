#include "appliance/relay/policy/domain.h"

#include "tests/unit/test.h"

static void compares_domains(void)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
	    {"example.com", "EXAMPLE.com", true},
	    {"example.com", "example.co", false},
	    {"\xe5\x8d\xb0\xe9\x91\x91.example", "xn--wlru32m.example", true},
	    {"\xe5\x8d\xb0\xe9\x91\x91.example", "XN--WLRU32M.EXAMPLE", true},
	    {"\xe5\x8d\xb0\xe9\x91\x91.example", "\xe5\x8d\xb0\xe9\x91\x91.EXAMPLE", true},
	    {"\xe5\x8d\xb0.example", "xn--wlru32m.example", false},
	    {"b\xc3\xbc"
	     "cher.example",
	     "bu\xcc\x88"
	     "cher.example",
	     true}, /* composed, decomposed */
	    {"fa\xc3\x9f.example", "fass.example", false},
	    {"\xff.example", "\xff.example", true},
	    {"\xff.example", "xn--wlru32m.example", false},
	    {"example\xe3\x80\x82"
	     "com",
	     "example.com", false}, /* the ideographic full stop */
	    {"\xef\xbd\x85xample.com", "example.com", false}, /* a fullwidth e */
	    {"\xef\xbd\x85xample.com", "\xef\xbd\x85xample.com", true},
	    {"", "\xe5\x8d\xb0", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		test_case("%s, %s", cases[i].a, cases[i].b);
		CHECK_INT(domain_equal(cases[i].a, cases[i].b), cases[i].equal);
		CHECK_INT(domain_equal(cases[i].b, cases[i].a), cases[i].equal);
	}
}

int main(void)
{
	TEST(compares_domains);
	return test_finish();
}
