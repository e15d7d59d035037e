#include "hsm/provision/benchmark_process.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hsm/token/object.h"

struct bench {
	struct connection connection;
	const struct worker_certificates *certificates;
	struct session sessions[SPEED_THREADS_MAX]; /* the first is the connection's */
	unsigned n_sessions;
	unsigned long keys[SPEED_KINDS];
	bool has_key[SPEED_KINDS];
};

static bool read_all(int fd, void *out, size_t len)
{
	uint8_t *at = out;

	while (len > 0) {
		ssize_t got = read(fd, at, len);

		if (got <= 0)
			return false;
		at += got;
		len -= (size_t)got;
	}
	return true;
}

static bool write_all(int fd, const void *octets, size_t len)
{
	return send(fd, octets, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* ---- the child ---- */

static bool is_of_kind(const struct worker_certificate *certificate, enum speed_kind kind)
{
	const uint8_t *at = certificate->n_chain > 0 ? certificate->chain[0].data : NULL;
	X509 *leaf = at != NULL ? d2i_X509(NULL, &at, (long)certificate->chain[0].len) : NULL;
	EVP_PKEY *key = leaf != NULL ? X509_get0_pubkey(leaf) : NULL;
	char name[32] = "";

	if (key != NULL && EVP_PKEY_is_a(key, "RSA"))
		snprintf(name, sizeof name, "RSA-%d", EVP_PKEY_get_bits(key));
	else if (key != NULL && EVP_PKEY_is_a(key, "EC"))
		snprintf(name, sizeof name, "EC-P%d", EVP_PKEY_get_bits(key));
	X509_free(leaf);
	return strcmp(name, speed_kind_name(kind)) == 0;
}

/* A key that is in use anyway, where the token makes no session keys. */
static bool borrow_key(struct bench *bench, enum speed_kind kind, unsigned long *key)
{
	for (size_t i = 0; i < bench->certificates->count; i++) {
		if (is_of_kind(&bench->certificates->items[i], kind) && !key_id_is_audit(bench->certificates->items[i].key_id) &&
		    object_find_private_key(&bench->sessions[0], bench->certificates->items[i].key_id, key, NULL))
			return true;
	}
	return false;
}

static bool ready_key(struct bench *bench, enum speed_kind kind, struct err *err)
{
	if (!bench->has_key[kind])
		bench->has_key[kind] = speed_make_key(&bench->sessions[0], kind, &bench->keys[kind], err) ||
				       borrow_key(bench, kind, &bench->keys[kind]);
	return bench->has_key[kind];
}

static bool ready_sessions(struct bench *bench, unsigned threads, struct err *err)
{
	while (bench->n_sessions < threads) {
		if (!session_open(bench->connection.module, bench->connection.session.slot, &bench->sessions[bench->n_sessions],
				  err))
			return false;
		bench->n_sessions++;
	}
	return true;
}

static void follow(struct bench *bench, const struct benchmark_order *order, struct benchmark_answer *answer)
{
	struct err err = {0};

	answer->good = ready_key(bench, order->kind, &err) && ready_sessions(bench, order->threads, &err) &&
		       (order->ms == 0 || speed_measure(bench->sessions, order->threads, order->kind, bench->keys[order->kind],
							order->ms, &answer->speed, &err));
	answer->code = err.code;
	snprintf(answer->text, sizeof answer->text, "%s", err.text);
}

/* The secret's memory is wiped by the fork: its octets come by the socket. NULL: there is none. */
static struct secret *receive_pin(int fd)
{
	uint8_t octets[SECRET_MAX_BYTES];
	struct secret *pin = NULL;
	uint32_t len = 0;

	if (read_all(fd, &len, sizeof len) && len > 0 && len <= sizeof octets && read_all(fd, octets, len))
		pin = secret_new(bytes_of(octets, len), NULL);
	mem_wipe(octets, sizeof octets);
	return pin;
}

static bool send_pin(int fd, const struct secret *pin)
{
	struct bytes octets = pin != NULL ? secret_bytes(pin) : (struct bytes){0};
	uint32_t len = (uint32_t)octets.len;

	return write_all(fd, &len, sizeof len) && (len == 0 || write_all(fd, octets.data, len));
}

_Noreturn static void child(int fd, const struct provision *provision, const struct worker_certificates *certificates)
{
	struct bench *bench = mem_new(sizeof *bench);
	struct benchmark_answer answer = {0};
	struct benchmark_order order;
	struct secret *pin = receive_pin(fd);

	bench->certificates = certificates;
	connection_open(&bench->connection, provision->settings, pin, CONNECTION_LOGIN_NEEDED);
	secret_free(pin);
	answer.good = bench->connection.logged_in;
	answer.code = bench->connection.why.code;
	snprintf(answer.text, sizeof answer.text, "%s", bench->connection.why.text);
	bench->sessions[0] = bench->connection.session;
	bench->n_sessions = 1;
	while (write_all(fd, &answer, sizeof answer) && bench->connection.logged_in && read_all(fd, &order, sizeof order)) {
		answer = (struct benchmark_answer){0};
		follow(bench, &order, &answer);
	}
	for (unsigned i = 1; i < bench->n_sessions; i++)
		session_close(&bench->sessions[i]);
	connection_close(&bench->connection);
	_exit(0);
}

/* ---- the parent ---- */

bool benchmark_has_kind(const struct worker_certificates *certificates, enum speed_kind kind)
{
	for (size_t i = 0; i < certificates->count; i++) {
		if (is_of_kind(&certificates->items[i], kind))
			return true;
	}
	return false;
}

bool benchmark_process_start(struct benchmark_process *processes, unsigned number, const struct provision *provision,
			     const struct worker_certificates *certificates, struct err *err)
{
	struct benchmark_process *process = &processes[number];
	struct benchmark_answer answer;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_set(err, ERR_SYSTEM, "no socket pair for the benchmark");
	process->pid = fork();
	if (process->pid == 0) {
		/* So that the end of each is seen when the parent closes it. */
		for (unsigned i = 0; i < number; i++)
			close(processes[i].fd);
		close(fds[0]);
		child(fds[1], provision, certificates);
	}
	close(fds[1]);
	process->fd = fds[0];
	if (process->pid > 0 && !send_pin(process->fd, provision->pin))
		return err_set(err, ERR_SYSTEM, "a process of the benchmark has died");
	if (process->pid > 0)
		return benchmark_process_answer(process, &answer, err);
	close(fds[0]);
	process->pid = 0;
	return err_set(err, ERR_SYSTEM, "no process for the benchmark");
}

bool benchmark_process_order(const struct benchmark_process *process, const struct benchmark_order *order, struct err *err)
{
	return write_all(process->fd, order, sizeof *order) ||
	       err_set(err, ERR_UNAVAILABLE, "a process of the benchmark has died in the PKCS#11 module");
}

bool benchmark_process_answer(const struct benchmark_process *process, struct benchmark_answer *answer, struct err *err)
{
	if (!read_all(process->fd, answer, sizeof *answer))
		return err_set(err, ERR_UNAVAILABLE, "a process of the benchmark has died in the PKCS#11 module");
	return answer->good || err_set(err, answer->code, "%s", answer->text);
}

void benchmark_process_end(struct benchmark_process *process)
{
	if (process->pid <= 0)
		return;
	close(process->fd);
	waitpid(process->pid, NULL, 0);
	process->pid = 0;
}
