#include "hsm/cms/der.h"

#define LENGTH_OCTETS_MAX 3 /* 16 MB is far beyond any signature */

struct der der_of(struct bytes octets)
{
	return (struct der){.rest = octets};
}

/* The octets of tag and length, and the length of the contents; 0 when it is not DER. */
static size_t read_header(struct bytes in, enum der_tag tag, size_t *contents)
{
	size_t octets, length = 0;

	if (in.len < 2 || in.data[0] != tag)
		return 0;
	if (in.data[1] < 0x80) {
		*contents = in.data[1];
		return 2;
	}
	octets = in.data[1] & 0x7f;
	if (octets == 0 || octets > LENGTH_OCTETS_MAX || in.len < 2 + octets || in.data[2] == 0)
		return 0;
	for (size_t i = 0; i < octets; i++)
		length = length << 8 | in.data[2 + i];
	if (length < 0x80)
		return 0;
	*contents = length;
	return 2 + octets;
}

static struct bytes take(struct der *der, enum der_tag tag, bool with_header)
{
	size_t contents = 0, header = der->bad ? 0 : read_header(der->rest, tag, &contents);
	struct bytes taken;

	if (header == 0 || der->rest.len - header < contents) {
		der->bad = true;
		return (struct bytes){0};
	}
	taken = bytes_slice(der->rest, with_header ? 0 : header, header + contents);
	der->rest = bytes_slice(der->rest, header + contents, der->rest.len);
	return taken;
}

struct der der_enter(struct der *der, enum der_tag tag)
{
	struct der inner = der_of(take(der, tag, false));

	inner.bad = der->bad;
	return inner;
}

struct bytes der_octets(struct der *der, enum der_tag tag)
{
	return take(der, tag, false);
}

struct bytes der_whole(struct der *der, enum der_tag tag)
{
	return take(der, tag, true);
}

bool der_is(struct der *der, struct bytes encoding)
{
	if (der->bad || !bytes_equal(bytes_slice(der->rest, 0, encoding.len), encoding)) {
		der->bad = true;
		return false;
	}
	der->rest = bytes_slice(der->rest, encoding.len, der->rest.len);
	return true;
}

bool der_end(const struct der *der)
{
	return !der->bad && der->rest.len == 0;
}
