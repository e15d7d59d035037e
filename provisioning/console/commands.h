/* The functions behind the table of commands.c, one file a subject. */
#ifndef INKAN_CONSOLE_COMMANDS_H
#define INKAN_CONSOLE_COMMANDS_H

#include "provisioning/console/console.h"

/* cmd_account.c */
command_run account_add, account_delete, account_password, show_accounts;

/* The word behind `account password` may be a password that was typed too early: true, and it must not be written down. */
bool account_password_names_nobody(struct console *console, const struct parsed *parsed);

/* cmd_approve.c */
command_run approve, reject, show_approvals, show_approval;

/* cmd_audit.c */
command_run show_audit;

/* cmd_audit_export.c */
command_run audit_export, audit_verify, show_audit_keys;
/* cmd_backup.c */
command_run backup, backup_force, restore;

/* cmd_certificate.c */
command_run certificate_import, certificate_renew, certificate_delete, certificate_delete_previous;

/* cmd_certificate_again.c */
command_run certificate_reinstall, certificate_forget_password;

/* cmd_certificate_request.c */
command_run certificate_request, certificate_request_cancel, certificate_install;
command_run show_certificate_requests, show_certificate_request;

/* cmd_certificate_show.c */
command_run show_certificates, show_certificates_detail;

/* cmd_commit.c */
command_run commit, commit_check, commit_comment, commit_confirmed, rollback, show_commits;

/* What commit would make of the candidate, in no list and never applied; NULL: it would be refused. */
struct snapshot *candidate_snapshot(struct console *console, struct err *err);

/* cmd_configure.c */
command_run configure, leave, set_setting, delete_setting, show_candidate, show_running, show_servers;

/* cmd_schema.c */
command_run show_schema;

/* cmd_hsm.c */
command_run hsm_initialize, hsm_login, hsm_login_final_try, hsm_login_keypad, hsm_logout, hsm_test, hsm_benchmark, show_hsm,
    show_programs;

/* cmd_load.c */
command_run load_merge, load_override, save_configuration;

/* cmd_queue.c */
command_run show_queue, show_sessions, show_deliveries, queue_hold, queue_release, queue_retry, queue_delete, queue_delete_force;

/*
 * Typed words in pairs, NAME VALUE, of `names` (NULL behind the last) into arguments of the question; `count N` into *count.
 * Errors name what is allowed.
 */
struct query;
bool read_pairs(const struct parsed *parsed, const char *const *names, struct query *query, size_t *count,
		struct err *err) MUST_USE;

/* cmd_setup.c */
command_run system_setup;

/* cmd_tls.c */
command_run show_tls, show_tls_counters;

/* Of certificates that the listeners of the configuration, which runs now, show, and that end soon or whose keys do not sign. */
struct settings;
void tls_warn(struct console *console, const struct settings *settings);
void certificates_warn(struct console *console); /* of those in operation that end soon, or have ended */

/* cmd_monitor.c, cmd_statistics.c, cmd_test_mail.c, cmd_server.c */
command_run monitor, show_statistics, test_mail, show_server;

/* cmd_explain.c */
command_run explain_envelope, explain_message;

/* session.c */
command_run run_operational, help;

#endif
