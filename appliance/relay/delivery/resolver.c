#include "appliance/relay/delivery/resolver.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/bytes.h"

struct resolver {
	struct event_base *base;
	struct evdns_base *dns; /* NULL until a name needs it */
	char **servers; /* none: the system's */
	size_t n_servers;
	bool stale;
	unsigned running; /* look-ups that evdns works on, cancelled ones too */
	bool freed; /* goes when the last of them has come back */
	struct event *reap;
};

struct resolution {
	struct resolver *resolver;
	char *host;
	resolver_cb *cb; /* NULL: cancelled */
	void *arg;
	struct event *tell;
	struct evdns_getaddrinfo_request *request; /* NULL: evdns is done, or was never asked */
	struct resolver_address addresses[RESOLVER_ADDRESSES_MAX];
	size_t count;
	struct err err;
};

static void clear_servers(struct resolver *resolver)
{
	for (size_t i = 0; i < resolver->n_servers; i++)
		free(resolver->servers[i]);
	free(resolver->servers);
	resolver->servers = NULL;
	resolver->n_servers = 0;
}

static void reap(struct resolver *resolver)
{
	clear_servers(resolver);
	if (resolver->dns != NULL)
		evdns_base_free(resolver->dns, 0);
	event_free(resolver->reap);
	free(resolver);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	reap(arg);
}

struct resolver *resolver_new(struct event_base *base)
{
	struct resolver *resolver = mem_new(sizeof *resolver);

	resolver->base = base;
	resolver->reap = event_new(base, -1, 0, on_reap, resolver);
	return resolver;
}

void resolver_configure(struct resolver *resolver, char *const *servers, size_t count)
{
	clear_servers(resolver);
	resolver->servers = mem_new_array(count, sizeof *resolver->servers);
	for (; resolver->n_servers < count; resolver->n_servers++)
		resolver->servers[resolver->n_servers] = mem_string(servers[resolver->n_servers]);
	resolver->stale = true;
}

void resolver_free(struct resolver *resolver)
{
	if (resolver == NULL)
		return;
	resolver->freed = true;
	if (resolver->running == 0)
		reap(resolver);
}

static struct evdns_base *new_dns(const struct resolver *resolver)
{
	int flags = EVDNS_BASE_DISABLE_WHEN_INACTIVE | (resolver->n_servers == 0 ? EVDNS_BASE_INITIALIZE_NAMESERVERS : 0);
	struct evdns_base *dns = evdns_base_new(resolver->base, flags);

	if (dns == NULL || resolver->n_servers == 0)
		return dns;
	evdns_base_load_hosts(dns, "/etc/hosts");
	for (size_t i = 0; i < resolver->n_servers; i++)
		evdns_base_nameserver_ip_add(dns, resolver->servers[i]);
	return dns;
}

/* The running look-ups of an old evdns base end there, so it is replaced only when there are none. */
static struct evdns_base *current_dns(struct resolver *resolver)
{
	if (resolver->dns != NULL && resolver->stale && resolver->running == 0) {
		evdns_base_free(resolver->dns, 0);
		resolver->dns = NULL;
	}
	if (resolver->dns == NULL) {
		resolver->dns = new_dns(resolver);
		resolver->stale = false;
	}
	return resolver->dns;
}

static void resolution_free(struct resolution *resolution)
{
	event_free(resolution->tell);
	free(resolution->host);
	free(resolution);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct resolution *resolution = arg;

	(void)fd;
	(void)what;
	resolution->cb(resolution->addresses, resolution->count, resolution->count == 0 ? &resolution->err : NULL,
		       resolution->arg);
	resolution_free(resolution);
}

static void add_address(struct resolution *resolution, const void *sockaddr, size_t len)
{
	struct resolver_address *address;

	if (resolution->count == RESOLVER_ADDRESSES_MAX || len > sizeof address->sockaddr)
		return;
	address = &resolution->addresses[resolution->count++];
	memcpy(&address->sockaddr, sockaddr, len);
	address->len = (socklen_t)len;
}

/* The name servers have answered that there is none. */
static bool is_final(int error)
{
	return error == 0 || error == EVUTIL_EAI_NONAME || error == EVUTIL_EAI_NODATA;
}

/* evdns may call this from within evdns_getaddrinfo, and does call it after a cancel. */
static void on_answer(int error, struct evutil_addrinfo *list, void *arg)
{
	struct resolution *resolution = arg;
	struct resolver *resolver = resolution->resolver;

	resolution->request = NULL;
	if (--resolver->running == 0 && resolver->freed)
		event_active(resolver->reap, 0, 0);
	if (resolution->cb == NULL) {
		if (list != NULL)
			evutil_freeaddrinfo(list);
		resolution_free(resolution);
		return;
	}
	for (struct evutil_addrinfo *item = list; item != NULL; item = item->ai_next)
		add_address(resolution, item->ai_addr, item->ai_addrlen);
	if (list != NULL)
		evutil_freeaddrinfo(list);
	if (resolution->count == 0)
		err_set(&resolution->err, is_final(error) ? ERR_NOT_FOUND : ERR_UNAVAILABLE, "no address of %s: %s",
			resolution->host, error != 0 ? evutil_gai_strerror(error) : "the name has none");
	event_active(resolution->tell, 0, 0);
}

static bool take_numeric(struct resolution *resolution, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (inet_pton(AF_INET, resolution->host, &v4.sin_addr) == 1)
		add_address(resolution, &v4, sizeof v4);
	else if (inet_pton(AF_INET6, resolution->host, &v6.sin6_addr) == 1)
		add_address(resolution, &v6, sizeof v6);
	return resolution->count > 0;
}

static void ask(struct resolution *resolution, uint16_t port)
{
	const struct evutil_addrinfo hints = {
	    .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP, .ai_flags = EVUTIL_AI_ADDRCONFIG};
	struct evdns_base *dns = current_dns(resolution->resolver);
	struct evdns_getaddrinfo_request *request;
	char service[8];

	if (dns == NULL) {
		err_set(&resolution->err, ERR_UNAVAILABLE, "no address of %s: /etc/resolv.conf cannot be used", resolution->host);
		event_active(resolution->tell, 0, 0);
		return;
	}
	snprintf(service, sizeof service, "%u", port);
	resolution->resolver->running++;
	request = evdns_getaddrinfo(dns, resolution->host, service, &hints, on_answer, resolution);
	if (request != NULL)
		resolution->request = request;
}

struct resolution *resolver_lookup(struct resolver *resolver, const char *host, uint16_t port, resolver_cb *cb, void *arg)
{
	struct resolution *resolution = mem_new(sizeof *resolution);

	resolution->resolver = resolver;
	resolution->host = mem_string(host);
	resolution->cb = cb;
	resolution->arg = arg;
	resolution->tell = event_new(resolver->base, -1, 0, on_tell, resolution);
	if (take_numeric(resolution, port))
		event_active(resolution->tell, 0, 0);
	else
		ask(resolution, port);
	return resolution;
}

void resolver_cancel(struct resolution *resolution)
{
	if (resolution == NULL)
		return;
	resolution->cb = NULL;
	if (resolution->request != NULL)
		evdns_getaddrinfo_cancel(resolution->request);
	else
		resolution_free(resolution);
}
