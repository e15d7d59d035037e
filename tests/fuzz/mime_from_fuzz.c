/* Any octets as a header: From gives an address only when it is one, the same however often asked; Date never overflows. */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/mime/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                                       \
	do {                                                                                                                     \
		if (!(condition))                                                                                                \
			abort();                                                                                                 \
	} while (0)

static enum mime_from ask(struct bytes value, char **address)
{
	struct mime_scan *scan = mime_scan_new();
	enum mime_from from;
	int64_t seconds;

	mime_scan_feed(scan, bytes_text("From:"));
	mime_scan_feed(scan, value);
	mime_scan_feed(scan, bytes_text("\r\nDate:"));
	mime_scan_feed(scan, value);
	mime_scan_feed(scan, bytes_text("\r\n\r\n"));
	mime_scan_finish(scan);
	from = mime_header_from(mime_scan_header(scan), address);
	if (mime_header_date(mime_scan_header(scan), &seconds))
		REQUIRE(seconds > -2300000000 && seconds < 260000000000);
	mime_scan_free(scan);
	return from;
}

static void require_address(const char *address)
{
	const char *at = strrchr(address, '@');

	REQUIRE(at != NULL && at != address && at[1] != '\0');
	for (const char *c = address; *c != '\0'; c++)
		REQUIRE((unsigned char)*c >= ' ' && *c != 0x7f);
	REQUIRE(at[1] == '[' || strpbrk(at + 1, " \t<>(),;:\"") == NULL);
	REQUIRE(address[0] == '"' || strpbrk(address, " \t<>(),;:\"") >= at || strpbrk(address, " \t<>(),;:\"") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *address = NULL, *again = NULL;

	if (ask(bytes_of(data, size), &address) != MIME_FROM_ONE) {
		REQUIRE(address == NULL);
		return 0;
	}
	require_address(address);
	REQUIRE(ask(bytes_text(address), &again) == MIME_FROM_ONE);
	REQUIRE(strcmp(again, address) == 0);
	free(address);
	free(again);
	return 0;
}
