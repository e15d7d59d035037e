#include "tests/unit/tls_stage.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "hsm/protocol/tls_text.h"

#define CLIENT_TIMEOUT_SECONDS 30

struct stage stage;

static EVP_PKEY *keys[TLS_IDENTITIES];
static X509 *certificates[TLS_IDENTITIES];
static struct channel *channels[2];
static struct evconnlistener *listener;
static struct tls_context *served;

/* ---- fibres: OpenSSL allocates their stacks in one file of its own ---- */

static atomic_uint stacks;

static void *counted_malloc(size_t size, const char *file, int line)
{
	(void)line;
	if (size >= 16384 && strstr(file, "async_posix") != NULL)
		atomic_fetch_add(&stacks, 1);
	return malloc(size);
}

static void *counted_realloc(void *memory, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return realloc(memory, size);
}

static void counted_free(void *memory, const char *file, int line)
{
	(void)line;
	if (memory != NULL && strstr(file, "async_posix") != NULL)
		atomic_fetch_sub(&stacks, 1);
	free(memory);
}

__attribute__((constructor)) static void count_stacks(void)
{
	CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free);
}

unsigned stage_stacks(void)
{
	return atomic_load(&stacks);
}

/* ---- identities ---- */

static X509 *self_signed(EVP_PKEY *key)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	X509_sign(certificate, key, EVP_sha256());
	return certificate;
}

static struct certificate certificate_of(enum tls_identity identity)
{
	static uint8_t der[TLS_IDENTITIES][4096];
	static struct bytes chains[TLS_IDENTITIES];
	unsigned char *at = der[identity];

	if (keys[identity] == NULL) {
		keys[identity] = identity == TLS_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
		certificates[identity] = self_signed(keys[identity]);
	}
	chains[identity] = bytes_of(der[identity], (size_t)i2d_X509(certificates[identity], &at));
	return (struct certificate){.id = identity + 1u,
				    .address = (char *)"localhost",
				    .key_type = identity == TLS_RSA ? (char *)"RSA-2048" : (char *)"EC-P256",
				    .chain = &chains[identity],
				    .n_chain = 1,
				    .tls = true};
}

struct tls_context *stage_context(unsigned identities)
{
	struct certificate made[TLS_IDENTITIES];
	const struct certificate *list[TLS_IDENTITIES];
	struct tls_context *context;
	size_t count = 0;
	struct err err;

	for (unsigned i = 0; i < TLS_IDENTITIES; i++) {
		if ((identities & 1u << i) == 0)
			continue;
		made[count] = certificate_of(i);
		list[count] = &made[count];
		count++;
	}
	context = tls_context_new(stage.tls, list, count, &err);
	CHECK_OK(context != NULL, &err);
	return context;
}

/* ---- the worker ---- */

struct task {
	LIST_ENTRY(task) link;
	struct event *timer;
	struct sign_request request;
	unsigned worker;
};

static LIST_HEAD(, task) tasks = LIST_HEAD_INITIALIZER(tasks);

static void task_free(struct task *task)
{
	LIST_REMOVE(task, link);
	event_free(task->timer);
	free(task);
}

static void answer(unsigned worker, uint64_t id, struct bytes signature)
{
	struct buf out = {0};

	if (signature.len > 0) {
		sign_result_encode(&out, &(struct sign_result){.id = id, .cms = signature});
		channel_send(channels[worker], SIGN_FRAME_RESULT, buf_bytes(&out), -1);
	} else {
		sign_failure_encode(&out,
				    &(struct sign_failure){.id = id, .class = SIGN_FAIL_REQUEST, .text = (char *)"no mechanism"});
		channel_send(channels[worker], SIGN_FRAME_FAILURE, buf_bytes(&out), -1);
	}
	buf_clear(&out);
}

static void sign(unsigned worker, const struct sign_request *request)
{
	uint8_t signature[1024];
	size_t len = sizeof signature;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY *key = request->certificate <= TLS_IDENTITIES ? keys[request->certificate - 1] : NULL;
	EVP_PKEY_CTX *padding;
	const EVP_MD *md = request->algorithm == SIGN_SHA256   ? EVP_sha256()
			   : request->algorithm == SIGN_SHA384 ? EVP_sha384()
							       : EVP_sha512();

	if (key != NULL)
		EVP_DigestSignInit(context, &padding, md, NULL, key);
	if (key != NULL && request->pss) {
		EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST);
	}
	if (key == NULL || (request->pss && stage.worker[worker].no_pss) ||
	    EVP_DigestSign(context, signature, &len, request->tls_text, request->tls_len - stage.worker[worker].wrong) != 1)
		len = 0;
	EVP_MD_CTX_free(context);
	answer(worker, request->id, bytes_of(signature, len));
}

static void on_delayed(evutil_socket_t fd, short what, void *arg)
{
	struct task *task = arg;

	(void)fd;
	(void)what;
	if (channels[task->worker] != NULL)
		sign(task->worker, &task->request);
	task_free(task);
}

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	unsigned worker = (unsigned)((struct stage_worker *)arg - stage.worker);
	struct timeval delay = {.tv_usec = stage.worker[worker].delay_ms * 1000};
	struct sign_request request;
	struct task *task;

	(void)channel;
	(void)fd;
	if (type == SIGN_FRAME_CANCEL) {
		stage.worker[worker].cancelled++;
		return;
	}
	if (!CHECK_INT(type, SIGN_FRAME_TLS) || !CHECK(sign_tls_decode(msg, &request, NULL)) || stage.worker[worker].silent)
		return;
	CHECK(tls_text_is_server_signature(bytes_of(request.tls_text, request.tls_len)));
	stage.worker[worker].asked++;
	task = mem_new(sizeof *task);
	task->worker = worker;
	task->request = request;
	task->timer = evtimer_new(stage.base, on_delayed, task);
	LIST_INSERT_HEAD(&tasks, task, link);
	event_add(task->timer, &delay);
}

static void on_closed(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	(void)why;
	(void)arg;
}

void stage_kill_worker(unsigned number)
{
	channel_free(channels[number]);
	channels[number] = NULL;
}

/* ---- the server ---- */

static void on_echo_read(struct bufferevent *stream, void *arg)
{
	(void)arg;
	bufferevent_write_buffer(stream, bufferevent_get_input(stream));
}

static void on_echo_event(struct bufferevent *stream, short what, void *arg)
{
	(void)what;
	(void)arg;
	bufferevent_free(stream);
}

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	(void)socket;
	(void)from;
	(void)len;
	(void)arg;
	evutil_make_socket_nonblocking(fd);
	stage.server = tls_server_new(served, fd, NULL);
	bufferevent_setcb(stage.server, on_echo_read, NULL, on_echo_event, NULL);
	bufferevent_enable(stage.server, EV_READ);
}

void stage_echo(struct tls_context *context)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;

	tls_context_unref(served);
	served = tls_context_ref(context);
	if (listener != NULL)
		return;
	listener = evconnlistener_new_bind(stage.base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 1024, (struct sockaddr *)&address,
					   (int)sizeof address);
	getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &len);
	stage.port = ntohs(address.sin_port);
}

void stage_begin(unsigned workers)
{
	struct err err;

	signal(SIGPIPE, SIG_IGN); /* as the relay does: a client may go while OpenSSL writes to it */
	stage = (struct stage){.base = event_base_new()};
	stage.signer = signer_new(stage.base);
	stage.tls = tls_new(stage.base, stage.signer, &err);
	CHECK_OK(stage.tls != NULL, &err);
	for (unsigned i = 0; i < workers; i++) {
		int fds[2];

		if (!CHECK(frame_socketpair(fds, true, NULL)))
			return;
		channels[i] = channel_new(stage.base, fds[0], on_message, on_closed, &stage.worker[i]);
		signer_attach(stage.signer, i, fds[1], 256);
	}
}

static bool all_gone(void *arg)
{
	(void)arg;
	return tls_state(stage.tls).connections == 0;
}

void stage_end(void)
{
	struct tls_state state;

	stage_run(all_gone, NULL, 3000);
	state = tls_state(stage.tls);
	CHECK_INT(state.connections, 0);
	CHECK_INT(state.handshakes, 0);
	CHECK_INT(state.waiting, 0);
	tls_context_unref(served);
	served = NULL;
	if (listener != NULL)
		evconnlistener_free(listener);
	listener = NULL;
	tls_free(stage.tls);
	CHECK_INT(stage_stacks(), 0);
	stage_kill_worker(0);
	stage_kill_worker(1);
	while (!LIST_EMPTY(&tasks))
		task_free(LIST_FIRST(&tasks));
	signer_free(stage.signer);
	event_base_free(stage.base);
}

void stage_run(bool (*done)(void *arg), void *arg, int ms)
{
	static const struct timeval tick = {.tv_usec = 2000};
	int64_t end = clock_monotonic_ms() + ms;

	while (!done(arg) && clock_monotonic_ms() < end) {
		event_base_loopexit(stage.base, &tick);
		event_base_loop(stage.base, 0);
	}
}

/* ---- clients ---- */

static int dial(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(stage.port)};
	struct timeval limit = {.tv_sec = CLIENT_TIMEOUT_SECONDS};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

static SSL_CTX *client_context(const struct client *client)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (client->version != 0) {
		SSL_CTX_set_min_proto_version(context, client->version);
		SSL_CTX_set_max_proto_version(context, client->version);
	}
	if (client->ciphers != NULL)
		SSL_CTX_set_cipher_list(context, client->ciphers);
	if (client->signatures != NULL)
		SSL_CTX_set1_sigalgs_list(context, client->signatures);
	return context;
}

static bool echo(SSL *ssl, size_t octets)
{
	uint8_t *sent = malloc(octets), *got = malloc(octets);
	size_t in = 0, out = 0;
	bool same;

	for (size_t i = 0; i < octets; i++)
		sent[i] = (uint8_t)(i * 31 >> 3);
	while (in < octets) {
		size_t piece = octets - out < 30000 ? octets - out : 30000;
		int read;

		if (piece > 0 && SSL_write(ssl, sent + out, (int)piece) != (int)piece)
			break;
		out += piece;
		read = SSL_read(ssl, got + in, (int)(octets - in));
		if (read <= 0)
			break;
		in += (size_t)read;
	}
	same = in == octets && memcmp(sent, got, octets) == 0;
	free(sent);
	free(got);
	return same;
}

static void talk(struct client *client, SSL *ssl)
{
	client->connected = SSL_connect(ssl) == 1;
	client->alert = !client->connected && ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL &&
			ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET;
	if (!client->connected)
		return;
	client->resumed = SSL_session_reused(ssl) == 1;
	snprintf(client->version_text, sizeof client->version_text, "%s", SSL_get_version(ssl));
	client->echoed = echo(ssl, client->octets > 0 ? client->octets : 1);
	client->session = SSL_get1_session(ssl);
	SSL_shutdown(ssl);
}

/* A ClientHello, and off. */
static void hello_and_leave(SSL *ssl, int fd)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *octets;
	long len;

	BIO_up_ref(memory);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), memory);
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	len = BIO_get_mem_data(memory, &octets);
	if (send(fd, octets, (size_t)len, MSG_NOSIGNAL) != len)
		abort();
	usleep(100000);
	BIO_free(memory);
}

static void *client_thread(void *arg)
{
	struct client *client = arg;
	SSL_CTX *context = client_context(client);
	int64_t begin = clock_monotonic_ms();
	SSL *ssl = SSL_new(context);
	int fd = dial();

	if (fd >= 0 && client->leave) {
		hello_and_leave(ssl, fd);
	} else if (fd >= 0) {
		SSL_set_fd(ssl, fd);
		if (client->resume != NULL)
			SSL_set_session(ssl, client->resume);
		talk(client, ssl);
	}
	client->took_ms = clock_monotonic_ms() - begin;
	SSL_SESSION_free(client->resume);
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fd);
	ERR_clear_error();
	__atomic_store_n(&client->done, true, __ATOMIC_RELEASE);
	return NULL;
}

void clients_start(struct client *clients, size_t count)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 << 10);
	for (size_t i = 0; i < count; i++)
		pthread_create(&clients[i].thread, &attributes, client_thread, &clients[i]);
	pthread_attr_destroy(&attributes);
}

struct group {
	struct client *clients;
	size_t count;
};

static bool all_done(void *arg)
{
	const struct group *group = arg;

	for (size_t i = 0; i < group->count; i++) {
		if (!__atomic_load_n(&group->clients[i].done, __ATOMIC_ACQUIRE))
			return false;
	}
	return true;
}

void clients_wait(struct client *clients, size_t count, int ms)
{
	struct group group = {clients, count};

	stage_run(all_done, &group, ms);
	for (size_t i = 0; i < count; i++)
		pthread_join(clients[i].thread, NULL);
}

size_t clients_connected(const struct client *clients, size_t count)
{
	size_t connected = 0;

	for (size_t i = 0; i < count; i++)
		connected += clients[i].connected && clients[i].echoed;
	return connected;
}
