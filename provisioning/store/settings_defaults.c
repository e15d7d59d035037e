#include <stdlib.h>

#include "provisioning/store/settings.h"

/*
 * The domains of the Japanese mobile carriers, whose readers show no S/MIME. Each stands for itself and everything
 * below it, and is anchored at both ends: docomo.ne.jp.example.com and notdocomo.ne.jp are somebody else.
 */
static const char *const carrier_domains[] = {
    "docomo\\.ne\\.jp",
    "mopera\\.net",
    "dwmail\\.jp",
    "ezweb\\.ne\\.jp",
    "ido\\.ne\\.jp",
    "au\\.com",
    "uqmobile\\.jp",
    "sky\\.(tkc|tkk|tu-ka)\\.ne\\.jp",
    "softbank\\.ne\\.jp",
    "i\\.softbank\\.jp",
    "disney\\.ne\\.jp",
    "[dhtcrknsq]\\.vodafone\\.ne\\.jp",
    "jp-[dhtcrknsq]\\.ne\\.jp",
    "emnet\\.ne\\.jp",
    "emobile(-s)?\\.ne\\.jp",
    "ymobile1?\\.ne\\.jp",
    "y-mobile\\.ne\\.jp",
    "pdx\\.ne\\.jp",
    "willcom\\.com",
    "wcm\\.ne\\.jp",
    "rakuten\\.jp",
    "rakumail\\.jp",
};

/* Mail that is signed or encrypted already (RFC 8551 §3.9, RFC 1847); the relay believes it only if the structure proves it. */
static const char signed_content_type[] = "^(multipart/signed|application/(x-)?pkcs7-mime)\\s*(;|$)";

void settings_add_server_defaults(struct settings *settings, const char *server)
{
	char *recipient = mem_format("server %s smime exclude recipient", server);
	char *header = mem_format("server %s smime exclude header Content-Type", server);

	for (size_t i = 0; i < sizeof carrier_domains / sizeof *carrier_domains; i++) {
		char *expression = mem_format("@([^@]+\\.)?%s$", carrier_domains[i]);

		settings_add(settings, recipient, expression);
		free(expression);
	}
	settings_add(settings, header, signed_content_type);
	free(recipient);
	free(header);
}
