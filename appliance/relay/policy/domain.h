/* Mail domains compared as readers and certificates mean them: without case, and in A-label form (RFC 5890). Pure. */
#ifndef INKAN_RELAY_POLICY_DOMAIN_H
#define INKAN_RELAY_POLICY_DOMAIN_H

#include <stdbool.h>

/* `印鑑.example` is `xn--wlru32m.example`. A domain that is not valid IDNA2008, or that IDNA would map to an ASCII
 * one (`example。com`), equals only itself. */
bool domain_equal(const char *a, const char *b);

#endif
