#include "appliance/supervisor/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what is wanted ---- */

/* "api 127.0.0.1:8443" and "127.0.0.1:8443" (SMTP) alike: what a socket is bound to. */
static const char *address_of(const char *name)
{
	const char *space = strchr(name, ' ');

	return space == NULL ? name : space + 1;
}

static bool names_contain(char *const *names, size_t count, const char *address)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(address_of(names[i]), address) == 0)
			return true;
	return false;
}

/* `prefix`: "" or the service and a space. */
static void append_name(char ***names, size_t *count, const char *prefix, const char *address)
{
	*names = mem_resize(*names, *count + 2, sizeof **names);
	(*names)[(*count)++] = mem_format("%s%s", prefix, address);
	(*names)[*count] = NULL;
}

static bool append_listens_of(const struct settings *settings, const char *server, const char *service, char ***all,
			      size_t *n_all, struct err *err)
{
	bool smtp = strcmp(service, "smtp") == 0;
	size_t count;
	char **names = settings_names(settings, &count, "server %s %s listen", server, service);
	bool distinct = true;

	for (size_t i = 0; i < count && distinct; i++) {
		distinct = !names_contain(*all, *n_all, names[i]);
		if (distinct)
			append_name(all, n_all, smtp ? "" : "api ", names[i]);
		else
			err_set(err, ERR_EXISTS, "server %s %s listen %s: another listener has this address", server, service,
				names[i]);
	}
	path_words_free(names);
	return distinct;
}

static bool append_metrics_listens(const struct settings *settings, char ***all, size_t *n_all, struct err *err)
{
	for (size_t i = 0; i < settings->count; i++) {
		const struct setting *setting = &settings->items[i];

		if (strcmp(setting->path, "system metrics listen") != 0)
			continue;
		if (names_contain(*all, *n_all, setting->value))
			return err_set(err, ERR_EXISTS, "system metrics listen %s: another listener has this address",
				       setting->value);
		append_name(all, n_all, "metrics ", setting->value);
	}
	return true;
}

char **listeners_wanted(const struct settings *settings, struct err *err)
{
	size_t n_servers, n_all = 0;
	char **servers = settings_names(settings, &n_servers, "server");
	char **all = mem_new_array(1, sizeof *all);
	bool distinct = true;

	for (size_t i = 0; i < n_servers && distinct; i++)
		distinct = append_listens_of(settings, servers[i], "smtp", &all, &n_all, err) &&
			   append_listens_of(settings, servers[i], "api", &all, &n_all, err);
	path_words_free(servers);
	if (distinct && append_metrics_listens(settings, &all, &n_all, err))
		return all;
	path_words_free(all);
	return NULL;
}

/* ---- sockets ---- */

struct endpoint {
	struct sockaddr_storage address;
	socklen_t len;
	uint16_t port;
};

static bool parse_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || value == 0 || value > UINT16_MAX)
		return false;
	*port = (uint16_t)value;
	return true;
}

static bool endpoint_of_host(const char *host, uint16_t port, bool v6, struct endpoint *endpoint)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (inet_pton(v6 ? AF_INET6 : AF_INET, host, v6 ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) != 1)
		return false;
	*endpoint = (struct endpoint){.len = v6 ? sizeof in6 : sizeof in, .port = port};
	memcpy(&endpoint->address, v6 ? (void *)&in6 : (void *)&in, endpoint->len);
	return true;
}

static bool endpoint_parse(const char *text, struct endpoint *endpoint, struct err *err)
{
	const char *colon = strrchr(text, ':');
	bool v6 = text[0] == '[', parsed = false;
	uint16_t port;

	if (colon != NULL && parse_port(colon + 1, &port) && (!v6 || (colon - text >= 2 && colon[-1] == ']'))) {
		char *host = mem_string_n(text + (v6 ? 1 : 0), (size_t)(colon - text) - (v6 ? 2 : 0));

		parsed = endpoint_of_host(host, port, v6, endpoint);
		free(host);
	}
	return parsed ? true : err_set(err, ERR_INVALID, "%s is not an ADDRESS:PORT", text);
}

static void set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof value);
}

/* How many of ours have this port; each gets or loses SO_REUSEPORT. */
static size_t let_own_port_overlap(const struct listeners *have, uint16_t port, bool overlap)
{
	struct endpoint endpoint;
	size_t count = 0;

	for (size_t i = 0; i < have->count; i++) {
		if (!endpoint_parse(have->items[i].address, &endpoint, NULL) || endpoint.port != port)
			continue;
		set_option(have->items[i].fd, SOL_SOCKET, SO_REUSEPORT, overlap);
		count++;
	}
	return count;
}

static bool bind_and_listen(int fd, const struct endpoint *endpoint)
{
	return bind(fd, (const struct sockaddr *)&endpoint->address, endpoint->len) == 0 && listen(fd, LISTENER_BACKLOG) == 0;
}

/*
 * A commit may go from 0.0.0.0:25 to 192.0.2.1:25, which the kernel refuses while the first listens. Sockets that both
 * have SO_REUSEPORT may overlap, so our own ones of that port get it for as long as the bind takes.
 */
static bool bind_beside_own(const struct listeners *have, int fd, const struct endpoint *endpoint)
{
	bool bound = false;
	int why = EADDRINUSE;

	if (let_own_port_overlap(have, endpoint->port, true) > 0) {
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
		bound = bind_and_listen(fd, endpoint);
		why = errno;
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, 0);
	}
	let_own_port_overlap(have, endpoint->port, false);
	errno = why;
	return bound;
}

static bool occupy(const struct listeners *have, int fd, const struct endpoint *endpoint)
{
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (endpoint->address.ss_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	return bind_and_listen(fd, endpoint) || (errno == EADDRINUSE && bind_beside_own(have, fd, endpoint));
}

static bool listener_open(const struct listeners *have, const char *address, int *out, struct err *err)
{
	struct endpoint endpoint;
	int fd;

	if (!endpoint_parse(address_of(address), &endpoint, err))
		return false;
	fd = socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, "socket");
	if (!occupy(have, fd, &endpoint)) {
		err_errno(err, "cannot listen on %s", address);
		close(fd);
		return false;
	}
	*out = fd;
	return true;
}

/* ---- sets ---- */

static const struct listener *find(const struct listeners *listeners, const char *address)
{
	for (size_t i = 0; i < listeners->count; i++)
		if (strcmp(listeners->items[i].address, address) == 0)
			return &listeners->items[i];
	return NULL;
}

static void add(struct listeners *listeners, struct listener listener)
{
	listeners->items = mem_resize(listeners->items, listeners->count + 1, sizeof *listeners->items);
	listeners->items[listeners->count++] = listener;
}

bool listeners_bind_new(const struct listeners *have, char *const *wanted, struct listeners *added, struct err *err)
{
	struct listeners opened = {0};

	for (size_t i = 0; wanted[i] != NULL; i++) {
		int fd = -1;

		if (find(have, wanted[i]) != NULL)
			continue;
		if (!listener_open(have, wanted[i], &fd, err)) {
			listeners_clear(&opened);
			return false;
		}
		add(&opened, (struct listener){.address = mem_string(wanted[i]), .fd = fd});
	}
	*added = opened;
	return true;
}

static void listener_close(struct listener *listener)
{
	close(listener->fd);
	free(listener->address);
}

/* The whole name: an address that goes over from one service to the other is another listener. */
static bool is_wanted(char *const *wanted, const char *name)
{
	while (*wanted != NULL && strcmp(*wanted, name) != 0)
		wanted++;
	return *wanted != NULL;
}

void listeners_adopt(struct listeners *have, struct listeners *added, char *const *wanted)
{
	size_t kept = 0;

	for (size_t i = 0; i < have->count; i++) {
		if (is_wanted(wanted, have->items[i].address))
			have->items[kept++] = have->items[i];
		else
			listener_close(&have->items[i]);
	}
	have->count = kept;
	for (size_t i = 0; i < added->count; i++)
		add(have, added->items[i]);
	free(added->items);
	*added = (struct listeners){0};
}

void listeners_clear(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++)
		listener_close(&listeners->items[i]);
	free(listeners->items);
	*listeners = (struct listeners){0};
}
