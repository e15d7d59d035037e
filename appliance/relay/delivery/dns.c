#include "appliance/relay/delivery/dns.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/bytes.h"

#define SOCKETS_MAX 64

struct dns_socket {
	struct dns *dns;
	ares_socket_t fd;
	struct event *event;
};

struct dns {
	struct event_base *base;
	char *servers; /* as c-ares wants them; NULL: those of the system */
	ares_channel channel; /* NULL until it is needed */
	bool stale; /* other servers since */
	struct event *timer;
	struct dns_socket sockets[SOCKETS_MAX];
};

/* ---- c-ares on libevent ---- */

static void arm_timer(struct dns *dns)
{
	struct timeval buffer, *wait = ares_timeout(dns->channel, NULL, &buffer);

	if (wait != NULL)
		event_add(dns->timer, wait);
	else
		event_del(dns->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct dns *dns = arg;

	(void)fd;
	(void)what;
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timer(dns);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct dns *dns = ((struct dns_socket *)arg)->dns;

	ares_process_fd(dns->channel, what & EV_READ ? fd : ARES_SOCKET_BAD, what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	arm_timer(dns);
}

static struct dns_socket *socket_of(struct dns *dns, ares_socket_t fd, bool or_free)
{
	struct dns_socket *unused = NULL;

	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (dns->sockets[i].event != NULL && dns->sockets[i].fd == fd)
			return &dns->sockets[i];
		if (dns->sockets[i].event == NULL)
			unused = &dns->sockets[i];
	}
	return or_free ? unused : NULL;
}

/* c-ares tells which sockets it waits for. One too many is not watched: its query times out. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *dns = arg;
	struct dns_socket *entry = socket_of(dns, fd, readable || writable);
	short what = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);

	if (entry == NULL)
		return;
	if (entry->event != NULL)
		event_free(entry->event);
	entry->event = NULL;
	if (!readable && !writable)
		return;
	entry->dns = dns;
	entry->fd = fd;
	entry->event = event_new(dns->base, fd, what, on_socket, entry);
	event_add(entry->event, NULL);
}

/* ---- the channel ---- */

static void close_channel(struct dns *dns)
{
	if (dns->channel == NULL)
		return;
	ares_destroy(dns->channel);
	dns->channel = NULL;
	event_del(dns->timer);
}

static bool open_channel(struct dns *dns, struct err *err)
{
	struct ares_options options = {
	    .timeout = DNS_TIMEOUT_MS, .tries = DNS_TRIES, .sock_state_cb = on_socket_state, .sock_state_cb_data = dns};
	int status = ares_init_options(&dns->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);

	if (status == ARES_SUCCESS && dns->servers != NULL)
		status = ares_set_servers_ports_csv(dns->channel, dns->servers);
	if (status == ARES_SUCCESS)
		return true;
	close_channel(dns);
	return err_set(err, ERR_UNAVAILABLE, "no name server can be used: %s", ares_strerror(status));
}

struct dns *dns_new(struct event_base *base)
{
	struct dns *dns = mem_new(sizeof *dns);

	ares_library_init(ARES_LIB_INIT_ALL);
	dns->base = base;
	dns->timer = event_new(base, -1, 0, on_timer, dns);
	return dns;
}

void dns_set_servers(struct dns *dns, char *const *servers, size_t count)
{
	struct buf list = {0};

	for (size_t i = 0; i < count; i++)
		buf_printf(&list, "%s%s", i == 0 ? "" : ",", servers[i]);
	free(dns->servers);
	dns->servers = count == 0 ? NULL : mem_string(buf_text(&list));
	dns->stale = true;
	buf_clear(&list);
}

ares_channel dns_channel(struct dns *dns, struct err *err)
{
	if (dns->channel != NULL && dns->stale && ares_timeout(dns->channel, NULL, &(struct timeval){0}) == NULL)
		close_channel(dns);
	dns->stale = dns->stale && dns->channel != NULL;
	return dns->channel != NULL || open_channel(dns, err) ? dns->channel : NULL;
}

void dns_started(struct dns *dns)
{
	arm_timer(dns);
}

struct event_base *dns_base(const struct dns *dns)
{
	return dns->base;
}

void dns_free(struct dns *dns)
{
	if (dns == NULL)
		return;
	close_channel(dns);
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (dns->sockets[i].event != NULL)
			event_free(dns->sockets[i].event);
	}
	event_free(dns->timer);
	ares_library_cleanup();
	free(dns->servers);
	free(dns);
}
