#include "appliance/relay/expiry.h"

#include <event2/event.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"

#define DAY_SECONDS 86400

struct expiry {
	struct event *daily;
	struct config *config; /* NULL before the first */
};

static void warn(const struct certificate *certificate, int64_t now)
{
	int64_t left = certificate->not_after - now;
	const char *kind = certificate->tls ? "tls" : "mail";

	if (left < 0)
		log_error("certificate.expired", LOG_TEXT("certificate", certificate->address), LOG_TEXT("for", kind),
			  LOG_NUMBER("days_ago", (-left) / DAY_SECONDS));
	else if (left <= CERTIFICATE_EXPIRING_DAYS * (int64_t)DAY_SECONDS)
		log_warning("certificate.expiring", LOG_TEXT("certificate", certificate->address), LOG_TEXT("for", kind),
			    LOG_NUMBER("days_left", left / DAY_SECONDS));
}

static void on_day(evutil_socket_t fd, short what, void *arg)
{
	struct expiry *expiry = arg;
	int64_t now = clock_wall_seconds();

	(void)fd;
	(void)what;
	for (size_t i = 0; expiry->config != NULL && i < expiry->config->snapshot->n_certificates; i++)
		warn(&expiry->config->snapshot->certificates[i], now);
}

struct expiry *expiry_new(struct event_base *base)
{
	static const struct timeval day = {.tv_sec = DAY_SECONDS};
	struct expiry *expiry = mem_new(sizeof *expiry);

	expiry->daily = event_new(base, -1, EV_PERSIST, on_day, expiry);
	event_add(expiry->daily, &day);
	return expiry;
}

void expiry_configure(struct expiry *expiry, struct config *config)
{
	config_unref(expiry->config);
	expiry->config = config_ref(config);
	on_day(-1, 0, expiry);
}
