#include "provisioning/console/banner.h"

void banner_put(struct buf *out, const char *setting)
{
	for (; *setting != '\0'; setting++) {
		uint8_t octet = (uint8_t)*setting;

		if (octet == '\\' && (setting[1] == 'n' || setting[1] == '\\'))
			octet = *++setting == 'n' ? '\n' : '\\';
		else if (octet < ' ' || octet == 0x7f)
			continue; /* a terminal would act on it */
		buf_put_byte(out, octet);
	}
	if (out->len > 0 && out->data[out->len - 1] != '\n')
		buf_put_byte(out, '\n');
}
