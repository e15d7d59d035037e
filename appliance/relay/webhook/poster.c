#include "appliance/relay/webhook/poster.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

struct poster {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
};

struct post {
	struct poster *poster;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	size_t answer_bytes;
	char error[CURL_ERROR_SIZE];
	post_cb *cb;
	void *arg;
};

/* ---- ends ---- */

static void post_free(struct post *post)
{
	curl_multi_remove_handle(post->poster->multi, post->easy);
	curl_easy_cleanup(post->easy);
	curl_slist_free_all(post->headers);
	buf_wipe_clear(&post->body);
	free(post);
}

void post_cancel(struct post *post)
{
	if (post != NULL)
		post_free(post);
}

static void finish(struct post *post, CURLcode code)
{
	post_cb *cb = post->cb;
	void *arg = post->arg;
	struct err err = {0};
	long status = 0;

	curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		err_set(&err, ERR_UNAVAILABLE, "%s", post->error[0] != '\0' ? post->error : curl_easy_strerror(code));
	else if (status < 200 || status > 299)
		err_set(&err, ERR_UNAVAILABLE, "answered %ld", status);
	post_free(post);
	cb(err.code == ERR_NONE ? NULL : &err, arg);
}

static void take_finished(struct poster *poster)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(poster->multi, &left)) != NULL) {
		char *post = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &post);
		finish((struct post *)(void *)post, message->data.result);
	}
}

/* ---- libcurl on the loop ---- */

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
	struct poster *poster = arg;
	int running, action = ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0);

	curl_multi_socket_action(poster->multi, fd, action, &running);
	take_finished(poster);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct poster *poster = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(poster->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished(poster);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct poster *poster = arg;
	struct event *event = socket_arg;
	short wanted =
	    (short)(EV_PERSIST | ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) | ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0));

	(void)easy;
	if (event != NULL)
		event_free(event);
	event = what == CURL_POLL_REMOVE ? NULL : event_new(poster->base, fd, wanted, on_socket_event, poster);
	curl_multi_assign(poster->multi, fd, event);
	return event != NULL && event_add(event, NULL) != 0 ? -1 : 0;
}

static int watch_time(CURLM *multi, long ms, void *arg)
{
	const struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct poster *poster = arg;

	(void)multi;
	return ms < 0 ? evtimer_del(poster->timer) : evtimer_add(poster->timer, &wait);
}

struct poster *poster_new(struct event_base *base)
{
	struct poster *poster = mem_new(sizeof *poster);

	poster->base = base;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
	poster->multi = curl_multi_init();
	poster->timer = evtimer_new(base, on_timer, poster);
	if (poster->multi == NULL || poster->timer == NULL)
		abort();
	curl_multi_setopt(poster->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(poster->multi, CURLMOPT_SOCKETDATA, poster);
	curl_multi_setopt(poster->multi, CURLMOPT_TIMERFUNCTION, watch_time);
	curl_multi_setopt(poster->multi, CURLMOPT_TIMERDATA, poster);
	return poster;
}

/* ---- a request ---- */

static size_t drop_answer(char *data, size_t size, size_t count, void *arg)
{
	struct post *post = arg;

	(void)data;
	post->answer_bytes += size * count;
	return post->answer_bytes > POSTER_ANSWER_MAX_BYTES ? 0 : size * count;
}

static void set_options(struct post *post, const struct post_request *request)
{
	CURL *easy = post->easy;

	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (request->ca_file != NULL) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)POSTER_CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)POSTER_REQUEST_MS);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, post->headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.len);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post->body.data);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_answer);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, post);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, post->error);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)post);
}

struct post *poster_post(struct poster *poster, const struct post_request *request, post_cb *cb, void *arg)
{
	struct post *post = mem_new(sizeof *post);

	*post = (struct post){.poster = poster, .easy = curl_easy_init(), .cb = cb, .arg = arg};
	if (post->easy == NULL)
		abort();
	buf_put_bytes(&post->body, request->body);
	post->headers = curl_slist_append(NULL, "Expect:"); /* do not ask before sending */
	for (size_t i = 0; request->headers[i] != NULL; i++)
		post->headers = curl_slist_append(post->headers, request->headers[i]);
	set_options(post, request);
	curl_multi_add_handle(poster->multi, post->easy); /* it runs from the timer */
	return post;
}
