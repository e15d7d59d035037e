/* The engine over time: connections, next hops that fail and come back, schedules, bounces, restarts. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/delivery/destination.h"
#include "tests/unit/delivery_stage.h"

static const char hello[] = "Subject: hello\r\n\r\nend\r\n";

static struct stage stage;
static struct sink *sink;

static void begin(void)
{
	stage_open(&stage);
	sink = sink_new(stage.base);
	stage_next_hop(&stage, "default", sink);
}

static void end(void)
{
	sink_free(sink);
	stage_close(&stage);
}

static void post_to(const char *server, const char *recipients)
{
	const struct post message = {.server = server, .recipients = recipients, .body = bytes_text(hello)};

	stage_post(&stage, &message);
}

static void post_many(const char *server, size_t count)
{
	for (size_t i = 0; i < count; i++)
		post_to(server, "b@example.net");
	CHECK(stage_run_until(&stage, stage_committed, NULL));
}

struct arrivals {
	const struct sink *at;
	size_t count;
};

static bool has_arrived(struct stage *unused, const void *arg)
{
	const struct arrivals *wanted = arg;

	(void)unused;
	return wanted->at->n_messages >= wanted->count;
}

static bool wait_for(const struct sink *at, size_t count)
{
	const struct arrivals wanted = {at, count};

	return stage_run_until(&stage, has_arrived, &wanted);
}

/* ---- Connections ---- */

static void reuses_one_connection_and_quits_when_idle(void)
{
	begin();
	stage_set(&stage, "1", "server default delivery-connections");
	stage_configure(&stage);
	for (int i = 0; i < 5; i++) {
		post_to("default", "b@example.net");
		CHECK(stage_drain(&stage));
	}
	CHECK_INT(sink->n_messages, 5);
	CHECK_INT(sink->connections, 1);
	stage_run_for(&stage, 400);
	CHECK_INT(sink->quits, 1);
	CHECK_INT(sink->connections_now, 0);
	CHECK_INT(delivery_state(stage.delivery).connections, 0);
	end();
}

static void opens_a_new_connection_after_a_hundred_messages(void)
{
	begin();
	sink->count_only = true;
	post_many("default", 250);
	stage_set(&stage, "1", "server default delivery-connections");
	stage_configure(&stage);
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 250);
	CHECK_INT(sink->connections, 3);
	end();
}

static void keeps_to_the_limit_of_connections(void)
{
	begin();
	sink->count_only = true;
	post_many("default", 300);
	stage_set(&stage, "3", "server default delivery-connections");
	stage_configure(&stage);
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 300);
	CHECK_INT(sink->connections_most, 3);
	end();
}

static void a_server_that_closes_after_each_message_costs_no_retry(void)
{
	begin();
	sink->count_only = true;
	sink->script.messages_max = 1;
	post_many("default", 40);
	stage_configure(&stage);
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 40);
	CHECK_INT(delivery_state(stage.delivery).deferred_total, 0);
	end();
}

static void a_server_that_takes_few_connections_is_not_down(void)
{
	begin();
	sink->count_only = true;
	sink->script.connections_max = 2;
	post_many("default", 200);
	stage_configure(&stage);
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 200);
	CHECK_INT(delivery_state(stage.delivery).deferred_total, 0);
	end();
}

static void pipelines_only_where_it_is_offered(void)
{
	begin();
	stage_configure(&stage);
	post_to("default", "b@example.net c@example.net d@example.net");
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->batched, 3);
	sink->script.ehlo = "250-sink.example\r\n250 8BITMIME\r\n";
	stage_run_for(&stage, 400);
	post_to("default", "b@example.net c@example.net d@example.net");
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->batched, 3);
	if (CHECK_INT(sink->n_messages, 2)) {
		CHECK_TEXT(sink->messages[1].mail, "MAIL FROM:<a@example.com> BODY=7BIT");
		CHECK_TEXT(buf_text(&sink->messages[1].rcpt), "b@example.net\nc@example.net\nd@example.net\n");
	}
	end();
}

static void a_refused_mail_command_sends_nobody_to_a_server_without_pipelining(void)
{
	begin();
	sink->script.ehlo = "250 sink.example\r\n";
	sink->script.mail = "451 4.7.1 later\r\n";
	stage_configure(&stage);
	post_to("default", "b@example.net c@example.net");
	CHECK(stage_settle(&stage, 2));
	CHECK_TEXT(stage_row(&stage, "c@example.net").reply, "451 4.7.1 later");
	CHECK_INT(sink->resets, 0);
	end();
}

/* ---- Recipients ---- */

static void put_recipients(struct buf *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		buf_printf(list, "r%u@example.net ", i);
}

static void many_recipients_go_in_transactions_of_a_hundred(void)
{
	struct buf list = {0};

	put_recipients(&list, 250);
	begin();
	stage_configure(&stage);
	post_to("default", buf_text(&list));
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 3);
	CHECK_INT(delivery_state(stage.delivery).delivered_total, 250);
	buf_clear(&list);
	end();
}

static void recipients_over_the_servers_limit_follow_at_once(void)
{
	struct buf list = {0};

	put_recipients(&list, 10);
	begin();
	sink->script.recipients_max = 3;
	stage_configure(&stage);
	post_to("default", buf_text(&list));
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 4);
	CHECK_INT(delivery_state(stage.delivery).delivered_total, 10);
	CHECK_INT(delivery_state(stage.delivery).deferred_total, 0);
	buf_clear(&list);
	end();
}

static void what_cannot_be_sent_is_refused_here(void)
{
	static const struct {
		const char *name, *ehlo;
		struct post post;
		const char *diagnostic;
	} cases[] = {
	    {"SMTPUTF8 not offered", "250-x\r\n250 8BITMIME\r\n", {.recipients = "b@example.net", .smtputf8 = true}, "5.6.7"},
	    {"address needs SMTPUTF8", "250 x\r\n", {.recipients = "\xe5\x8d\xb0@example.net"}, "5.6.7"},
	    {"too large", "250-x\r\n250 SIZE 4000\r\n", {.recipients = "b@example.net"}, "5.3.4"},
	    {"address with a line break", NULL, {.recipients = "b\r\nDATA@example.net"}, "5.1.3"},
	};

	struct buf body = {0};

	buf_put_text(&body, hello);
	while (body.len < 5000)
		buf_put_text(&body, "more\r\n");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct post message = cases[i].post;

		test_case("%s", cases[i].name);
		message.body = buf_bytes(&body);
		begin();
		sink->script.ehlo = cases[i].ehlo;
		stage_configure(&stage);
		stage_post(&stage, &message);
		CHECK(stage_drain(&stage));
		CHECK_INT(delivery_state(stage.delivery).failed_total, 1);
		if (CHECK_INT(sink->n_messages, 1)) { /* the bounce */
			CHECK_CONTAINS(sink->messages[0].mail, "MAIL FROM:<>");
			CHECK_CONTAINS(buf_text(&sink->messages[0].content), cases[i].diagnostic);
		}
		end();
	}
	buf_clear(&body);
}

/* ---- Next hops that fail ---- */

static void a_next_hop_that_is_down_is_probed_and_drained_when_it_is_back(void)
{
	begin();
	sink->count_only = true;
	sink_down(sink);
	stage_configure(&stage);
	post_many("default", 1200);
	CHECK(stage_settle(&stage, 1200));
	CHECK_CONTAINS(stage_row(&stage, "b@example.net").reply, "the next hop is down: 127.0.0.1");
	CHECK_CONTAINS(stage_row(&stage, "b@example.net").reply, "Connection refused");
	CHECK(stage_row(&stage, "b@example.net").due > clock_wall_ms() + 30000);
	CHECK(sink_up(sink));
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 1200);
	end();
}

static size_t new_mail_seen; /* how many messages the sink had when the new one came */

static bool new_mail_is_there(struct stage *unused, const void *arg)
{
	(void)unused;
	(void)arg;
	for (size_t i = 0; i < sink->n_messages; i++) {
		if (strstr(buf_text(&sink->messages[i].rcpt), "new@example.net") != NULL) {
			new_mail_seen = i;
			return true;
		}
	}
	return false;
}

/* bench.md: 10,000 queued mails drain at once, none is left for its own next try, and new mail is not behind them. */
static void ten_thousand_drain_and_new_mail_goes_first(void)
{
	begin();
	stage_be_patient(&stage);
	sink_down(sink);
	stage_configure(&stage);
	post_many("default", 10000);
	CHECK(stage_settle(&stage, 10000));
	CHECK(sink_up(sink));
	CHECK(wait_for(sink, 500));
	post_to("default", "new@example.net");
	CHECK(stage_run_until(&stage, new_mail_is_there, NULL));
	CHECK(new_mail_seen < 9000); /* behind them all it would be 10000; its commit takes a share of the time */
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 10001);
	CHECK(sink->connections_most <= 20);
	CHECK_INT(delivery_state(stage.delivery).delivered_total, 10001);
	end();
}

static void a_next_hop_that_is_down_is_not_hammered(void)
{
	begin();
	sink->script.greeting = "421 4.3.2 not now\r\n";
	stage_configure(&stage);
	post_many("default", 100);
	CHECK(stage_settle(&stage, 100));
	stage_run_for(&stage, 1000);
	CHECK(sink->connections <= DESTINATION_WINDOW_FIRST + 1);
	end();
}

static void a_server_that_drops_every_message_counts_as_down(void)
{
	begin();
	sink->script.data = SINK_DROP;
	post_many("default", 100);
	stage_configure(&stage);
	CHECK(stage_settle(&stage, 100));
	CHECK(sink->connections <= DESTINATION_LOSSES_MAX + DESTINATION_WINDOW_FIRST);
	end();
}

static void the_next_one_by_priority_takes_over(void)
{
	struct sink *second;

	begin();
	second = sink_new(stage.base);
	stage_next_hop(&stage, "default", second);
	stage_set(&stage, "5", "server default next-hop 127.0.0.1:%u priority", sink->port);
	stage_configure(&stage);
	post_many("default", 1);
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 1);
	sink_down(sink);
	stage_run_for(&stage, 300);
	post_many("default", 20);
	CHECK(stage_drain(&stage));
	CHECK_INT(second->n_messages, 20);
	CHECK_INT(delivery_state(stage.delivery).deferred_total, 0);
	sink_free(second);
	end();
}

static void a_name_is_looked_up(void)
{
	begin();
	stage_set(&stage, "", "server named next-hop localhost:%u", sink->port);
	stage_configure(&stage);
	post_to("named", "b@example.net");
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 1);
	end();
}

static void a_slow_destination_holds_nobody_up(void)
{
	struct sink *fast;

	begin();
	stage.timeouts.envelope = 60000;
	sink->script.mail = SINK_SILENT;
	fast = sink_new(stage.base);
	stage_next_hop(&stage, "fast", fast);
	post_many("default", 2500);
	post_many("fast", 30);
	stage_configure(&stage);
	CHECK(wait_for(fast, 30));
	post_many("fast", 30);
	CHECK(wait_for(fast, 60));
	sink_free(fast);
	end();
}

/* ---- Configuration ---- */

static void mail_for_an_unknown_server_waits_for_its_configuration(void)
{
	begin();
	stage_configure(&stage);
	post_to("other", "b@example.net");
	CHECK(stage_settle(&stage, 1));
	CHECK_TEXT(stage_row(&stage, "b@example.net").reply, "server other is not configured here");
	stage_next_hop(&stage, "other", sink);
	stage_configure(&stage);
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 1);
	end();
}

static void a_corrected_next_hop_gets_what_waited_for_the_wrong_one(void)
{
	struct sink *right;

	begin();
	right = sink_new(stage.base);
	sink_down(sink);
	stage_configure(&stage);
	post_many("default", 3);
	CHECK(stage_settle(&stage, 3));
	stage_next_hop(&stage, "default", right);
	stage_configure(&stage);
	CHECK(stage_drain(&stage));
	CHECK_INT(right->n_messages, 3);
	sink_free(right);
	end();
}

/* ---- The end of the lifetime ---- */

static void the_end_of_the_lifetime_bounces(void)
{
	const struct post message = {.recipients = "b@example.net", .body = bytes_text(hello), .lifetime_s = -1};

	begin();
	sink->script.rcpt = "450 4.2.0 busy\r\n";
	sink->script.once = true;
	stage_configure(&stage);
	stage_post(&stage, &message);
	CHECK(stage_settle(&stage, 2));
	if (CHECK_INT(sink->n_messages, 1)) {
		CHECK_CONTAINS(buf_text(&sink->messages[0].content), "Status: 4.4.7\r\n");
		CHECK_CONTAINS(buf_text(&sink->messages[0].content),
			       "delivery time expired; the last attempt said: 450 4.2.0 busy");
	}
	CHECK(stage_drain(&stage));
	end();
}

static void who_gets_no_bounce(void)
{
	static const struct {
		const char *name, *sender;
		uint32_t notify;
	} cases[] = {{"null sender", "", 0}, {"NOTIFY=NEVER", "a@example.com", QUEUE_NOTIFY_NEVER}};

	for (size_t i = 0; i < 2; i++) {
		const struct post message = {.sender = cases[i].sender,
					     .recipients = "b@example.net",
					     .body = bytes_text(hello),
					     .notify = cases[i].notify};

		test_case("%s", cases[i].name);
		begin();
		sink->script.rcpt = "550 5.1.1 nobody\r\n";
		stage_configure(&stage);
		stage_post(&stage, &message);
		CHECK(stage_settle(&stage, 1));
		CHECK(stage_drain(&stage));
		CHECK_INT(delivery_state(stage.delivery).bounced_total, 0);
		CHECK_INT(delivery_state(stage.delivery).failed_total, 1);
		end();
	}
}

static const char *notice_of(const char *subject)
{
	for (size_t i = 0; i < sink->n_messages; i++) {
		const char *text = buf_text(&sink->messages[i].content);

		if (strstr(text, subject) != NULL)
			return text;
	}
	return "";
}

/* RFC 3461 §5.2.1: who hands over to a server without DSN tells so; one with DSN takes over the duty. */
static void success_is_told_where_the_next_hop_does_not(void)
{
	const struct post message = {.recipients = "b@example.net", .body = bytes_text(hello), .notify = QUEUE_NOTIFY_SUCCESS};

	begin();
	stage_configure(&stage);
	stage_post(&stage, &message);
	CHECK(wait_for(sink, 2));
	CHECK_CONTAINS(notice_of("Successful Mail Delivery Report"), "Action: relayed\r\nStatus: 2.0.0\r\n");
	sink->script.ehlo = "250-sink.example\r\n250 DSN\r\n";
	stage_run_for(&stage, 300); /* the idle connection goes */
	stage_post(&stage, &message);
	CHECK(wait_for(sink, 3));
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 3);
	end();
}

static void the_sender_is_warned_of_a_delay_once(void)
{
	const struct sink_recipient slow[] = {{"b@example.net", "450 4.2.0 busy\r\n"}, {NULL, NULL}};
	const struct post message = {.recipients = "b@example.net", .body = bytes_text(hello)};

	begin();
	stage_set(&stage, "1s", "server default queue delay-warning");
	stage_set(&stage, "1s", "server default queue retry");
	stage_configure(&stage);
	sink->script.recipients = slow;
	stage_post(&stage, &message);
	CHECK(wait_for(sink, 1));
	CHECK_CONTAINS(notice_of("Delayed Mail"), "Action: delayed\r\nStatus: 4.2.0\r\n");
	CHECK_CONTAINS(notice_of("Delayed Mail"), "Will-Retry-Until: ");
	stage_run_for(&stage, 2500);
	CHECK(stage_row(&stage, "b@example.net").attempts >= 3);
	CHECK_INT(sink->n_messages, 1);
	end();
}

static void a_bounce_that_fails_is_not_bounced(void)
{
	begin();
	sink->script.rcpt = "550 5.1.1 nobody\r\n";
	stage_configure(&stage);
	post_to("default", "b@example.net");
	CHECK(stage_settle(&stage, 2));
	CHECK(stage_drain(&stage));
	CHECK_INT(delivery_state(stage.delivery).bounced_total, 1);
	CHECK_INT(delivery_state(stage.delivery).failed_total, 2);
	end();
}

/* ---- Stop and start ---- */

static void a_restart_resumes_the_queue(void)
{
	begin();
	sink->script.data = SINK_SILENT;
	stage.timeouts.data = 60000;
	stage_configure(&stage);
	post_many("default", 20);
	stage_run_for(&stage, 100);
	stage_restart(&stage); /* without grace: running transactions are cut */
	CHECK_INT(queue_count(stage.queue).messages, 20);
	sink->script.data = NULL;
	CHECK(stage_drain(&stage));
	CHECK_INT(sink->n_messages, 20);
	end();
}

/* The server has seen MAIL and RCPT in one write, and answers slowly. */
static bool is_under_way(struct stage *unused, const void *arg)
{
	(void)unused;
	(void)arg;
	return sink->batched > 0;
}

static void stopping_lets_running_transactions_end(void)
{
	begin();
	sink->script.answer_slowly = true;
	stage_be_patient(&stage);
	stage_configure(&stage);
	post_to("default", "b@example.net");
	CHECK(stage_run_until(&stage, is_under_way, NULL));
	CHECK_INT(sink->n_messages, 0);
	stage_stop_delivery(&stage, STAGE_WAIT_MS);
	CHECK_INT(sink->n_messages, 1);
	CHECK_INT(queue_count(stage.queue).messages, 0);
	end();
}

static void who_waits_for_another_server_is_left_alone(void)
{
	const struct sink_recipient busy[] = {{"busy@example.net", "450 4.2.0 busy\r\n"}, {NULL, NULL}};
	struct sink *other;

	begin();
	other = sink_new(stage.base);
	other->script.recipients = busy;
	stage_next_hop(&stage, "other", other);
	stage_set(&stage, "1h", "server other queue retry");
	sink_down(sink);
	stage_configure(&stage);
	post_to("other", "busy@example.net");
	post_to("default", "b@example.net");
	CHECK(stage_settle(&stage, 2));
	CHECK(sink_up(sink));
	CHECK(wait_for(sink, 1));
	stage_run_for(&stage, 300);
	CHECK_INT(stage_row(&stage, "busy@example.net").attempts, 1);
	sink_free(other);
	end();
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

static bool is_true(struct stage *unused, const void *arg)
{
	(void)unused;
	return *(const bool *)arg;
}

static bool has_connections(struct stage *at, const void *arg)
{
	return delivery_state(at->delivery).connections >= *(const unsigned *)arg;
}

static void stopping_drops_what_does_not_end(void)
{
	const unsigned one = 1;
	bool stopped = false;

	begin();
	stage_be_patient(&stage);
	sink->script.final = SINK_SILENT;
	stage_configure(&stage);
	post_many("default", 1);
	CHECK(stage_run_until(&stage, has_connections, &one));
	delivery_stop(stage.delivery, clock_monotonic_ms() + 200, set_true, &stopped);
	CHECK(stage_run_until(&stage, is_true, &stopped));
	CHECK_INT(delivery_state(stage.delivery).connections, 0);
	CHECK_INT(delivery_state(stage.delivery).delivered_total, 0);
	CHECK_INT(queue_count(stage.queue).messages, 1);
	end();
}

static void a_server_that_does_not_answer_gets_two_connections(void)
{
	begin();
	stage_be_patient(&stage);
	sink->script.mail = SINK_SILENT;
	stage_configure(&stage);
	post_many("default", 100);
	stage_run_for(&stage, 500);
	CHECK_INT(sink->connections_most, DESTINATION_WINDOW_FIRST);
	end();
}

int main(void)
{
	TEST(reuses_one_connection_and_quits_when_idle);
	TEST(opens_a_new_connection_after_a_hundred_messages);
	TEST(keeps_to_the_limit_of_connections);
	TEST(a_server_that_closes_after_each_message_costs_no_retry);
	TEST(a_server_that_takes_few_connections_is_not_down);
	TEST(pipelines_only_where_it_is_offered);
	TEST(a_refused_mail_command_sends_nobody_to_a_server_without_pipelining);
	TEST(many_recipients_go_in_transactions_of_a_hundred);
	TEST(recipients_over_the_servers_limit_follow_at_once);
	TEST(what_cannot_be_sent_is_refused_here);
	TEST(a_next_hop_that_is_down_is_probed_and_drained_when_it_is_back);
	TEST(ten_thousand_drain_and_new_mail_goes_first);
	TEST(a_next_hop_that_is_down_is_not_hammered);
	TEST(a_server_that_drops_every_message_counts_as_down);
	TEST(the_next_one_by_priority_takes_over);
	TEST(a_name_is_looked_up);
	TEST(a_slow_destination_holds_nobody_up);
	TEST(mail_for_an_unknown_server_waits_for_its_configuration);
	TEST(a_corrected_next_hop_gets_what_waited_for_the_wrong_one);
	TEST(the_end_of_the_lifetime_bounces);
	TEST(who_gets_no_bounce);
	TEST(success_is_told_where_the_next_hop_does_not);
	TEST(the_sender_is_warned_of_a_delay_once);
	TEST(a_bounce_that_fails_is_not_bounced);
	TEST(a_restart_resumes_the_queue);
	TEST(stopping_lets_running_transactions_end);
	TEST(who_waits_for_another_server_is_left_alone);
	TEST(stopping_drops_what_does_not_end);
	TEST(a_server_that_does_not_answer_gets_two_connections);
	return test_finish();
}
