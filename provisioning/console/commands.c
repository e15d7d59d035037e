#include "provisioning/console/commands.h"

#include <stdlib.h>
#include <string.h>

#define OPERATIONAL MODE_OPERATIONAL
#define ANY_MODE (MODE_OPERATIONAL | MODE_CONFIGURATION)
#define EDITING (MODE_CONFIGURATION | MODE_SCRIPT)

const struct command commands[] = {
    {"account add <account:name> role administrator|operator|auditor", ANY_MODE, ROLE_ADMINISTRATOR, true, account_add,
     "Add an account; its password is prompted for"},
    {"account delete <account:name>", ANY_MODE, ROLE_ADMINISTRATOR, true, account_delete, "Delete an account"},
    {"account password [<account:name>]", ANY_MODE, ROLES_ALL, true, account_password, "Change a password"},

    {"approve <approval:number>", ANY_MODE, ROLE_ADMINISTRATOR, true, approve, "Do what another has asked for: show approvals"},
    {"reject <approval:number>", ANY_MODE, ROLES_OPERATING, true, reject, "Drop what waits for an approval"},
    {"audit export <file>", ANY_MODE, ROLE_ADMINISTRATOR | ROLE_AUDITOR, true, audit_export,
     "Write the audit to a file, signed by the token"},
    {"audit verify <file>", ANY_MODE, ROLES_ALL, false, audit_verify, "Check an exported audit"},

    {"backup <file>", ANY_MODE, ROLE_ADMINISTRATOR, true, backup, "Write settings, certificates, accounts to a file"},
    {"backup <file> force", ANY_MODE, ROLE_ADMINISTRATOR, true, backup_force, "The same, in place of a file that is there"},
    {"restore <file>", ANY_MODE, ROLE_ADMINISTRATOR, true, restore, "Bring a backup back in place of all that is here"},

    {"certificate import <address:mail-address> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_import,
     "Bring a PKCS#12 key into the HSM, register it"},
    {"certificate import tls|--tls <name:host-name> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_import,
     "The same for a TLS server's key and certificate"},
    {"certificate renew <address:mail-address> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_renew,
     "Register the next certificate; commit starts it"},
    {"certificate renew tls|--tls <name:host-name> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_renew,
     "The same for a TLS server's certificate"},
    {"certificate request <address:mail-address>", ANY_MODE, ROLES_OPERATING, true, certificate_request,
     "Make a key on the token, print its request"},
    {"certificate request <address:mail-address> key rsa2048|rsa3072|rsa4096|p256|p384", ANY_MODE, ROLES_OPERATING, true,
     certificate_request, "The same with another kind of key"},
    {"certificate request <address:mail-address> cancel", ANY_MODE, ROLES_OPERATING, true, certificate_request_cancel,
     "Forget a request and delete its key"},
    {"certificate request tls|--tls <name:host-name>", ANY_MODE, ROLES_OPERATING, true, certificate_request,
     "Make a TLS server's key on the token"},
    {"certificate request tls|--tls <name:host-name> key rsa2048|rsa3072|rsa4096|p256|p384", ANY_MODE, ROLES_OPERATING, true,
     certificate_request, "The same with another kind of key"},
    {"certificate request tls|--tls <name:host-name> dns <names...>", ANY_MODE, ROLES_OPERATING, true, certificate_request,
     "The same for further host names too"},
    {"certificate request tls|--tls <name:host-name> key rsa2048|rsa3072|rsa4096|p256|p384 dns <names...>", ANY_MODE,
     ROLES_OPERATING, true, certificate_request, "The same for further host names too"},
    {"certificate request tls|--tls <name:host-name> cancel", ANY_MODE, ROLES_OPERATING, true, certificate_request_cancel,
     "Forget a request and delete its key"},
    {"certificate install <address:mail-address> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_install,
     "Register what a CA made of a request"},
    {"certificate install tls|--tls <name:host-name> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_install,
     "The same for a TLS server's request"},
    {"certificate reinstall <address:mail-address> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_reinstall,
     "Bring a registered key onto a new token"},
    {"certificate forget-password <address:mail-address>", ANY_MODE, ROLES_OPERATING, true, certificate_forget_password,
     "Wipe the kept password of its PKCS#12 file"},
    {"certificate reinstall tls|--tls <name:host-name> [<file:source>]", ANY_MODE, ROLES_OPERATING, true, certificate_reinstall,
     "The same for a TLS server's key"},
    {"certificate forget-password tls|--tls <name:host-name>", ANY_MODE, ROLES_OPERATING, true, certificate_forget_password,
     "Wipe the kept password of its PKCS#12 file"},
    {"certificate delete <address:mail-address>", ANY_MODE, ROLES_OPERATING, true, certificate_delete,
     "Delete an address's certificates and their keys"},
    {"certificate delete <address:mail-address> previous", ANY_MODE, ROLES_OPERATING, true, certificate_delete_previous,
     "Delete what a renewal has replaced"},
    {"certificate delete tls|--tls <name:host-name>", ANY_MODE, ROLES_OPERATING, true, certificate_delete,
     "Delete a host's TLS certificates and their keys"},
    {"certificate delete tls|--tls <name:host-name> previous", ANY_MODE, ROLES_OPERATING, true, certificate_delete_previous,
     "Delete what a renewal has replaced"},

    {"explain server <server:name> from <from:text> to <recipients-and-fields...>", OPERATIONAL, ROLES_ALL, false,
     explain_envelope, "Tell who would get it signed, and why"},
    {"explain message <file> server <server:name> to <recipients...>", OPERATIONAL, ROLES_ALL, false, explain_message,
     "Tell what would become of a message in a file"},
    {"explain message <file> server <server:name> [candidate]", OPERATIONAL, ROLES_ALL, false, explain_message,
     "The same, to whom its To and Cc name"},

    {"hsm initialize", ANY_MODE, ROLE_ADMINISTRATOR, true, hsm_initialize, "Initialise a new token and set its PINs"},
    {"hsm login", ANY_MODE, ROLES_OPERATING, true, hsm_login, "Give the token's PIN, so that signing can begin"},
    {"hsm login final-try", ANY_MODE, ROLES_OPERATING, true, hsm_login_final_try,
     "The same, though a wrong PIN would lock the token"},
    {"hsm login keypad", ANY_MODE, ROLES_OPERATING, true, hsm_login_keypad, "Log in by the PIN pad of the token itself"},
    {"hsm logout", ANY_MODE, ROLES_OPERATING, true, hsm_logout, "Forget the PIN and stop signing"},
    {"hsm benchmark [<seconds:number>]", ANY_MODE, ROLES_OPERATING, true, hsm_benchmark, "Measure how fast the token signs"},
    {"hsm test", ANY_MODE, ROLES_OPERATING, true, hsm_test, "Sign and verify with every key"},

    {"monitor", OPERATIONAL, ROLES_ALL, false, monitor, "Show what happens, anew each second; q leaves"},

    {"queue delete <id-or-all>", ANY_MODE, ROLES_OPERATING, true, queue_delete, "Delete mail without a bounce"},
    {"queue delete <id-or-all> force", ANY_MODE, ROLES_OPERATING, true, queue_delete_force, "Delete without a question"},
    {"queue hold <id-or-all>", ANY_MODE, ROLES_OPERATING, true, queue_hold, "Keep mail from being delivered"},
    {"queue release <id-or-all>", ANY_MODE, ROLES_OPERATING, true, queue_release, "Let held mail go"},
    {"queue retry <id-or-all>", ANY_MODE, ROLES_OPERATING, true, queue_retry, "Try delivery now"},

    {"show accounts", OPERATIONAL, ROLES_ALL, false, show_accounts, "Show the accounts of this console"},
    {"show certificates", OPERATIONAL, ROLES_ALL, false, show_certificates, "Show the certificates with validity and state"},
    {"show certificates detail", OPERATIONAL, ROLES_ALL, false, show_certificates_detail, "Show all that is known of them"},
    {"show certificates requests", OPERATIONAL, ROLES_ALL, false, show_certificate_requests,
     "Show the keys that wait for a certificate"},
    {"show certificates request <address:mail-address>", OPERATIONAL, ROLES_ALL, false, show_certificate_request,
     "Print a certificate request again"},
    {"show certificates request tls|--tls <name:host-name>", OPERATIONAL, ROLES_ALL, false, show_certificate_request,
     "Print a TLS server's request again"},
    {"show configuration", OPERATIONAL, ROLES_ALL, false, show_running, "Show the running configuration"},
    {"show configuration schema", OPERATIONAL, ROLES_ALL, false, show_schema, "Print a JSON schema of show configuration | json"},
    {"show hsm", OPERATIONAL, ROLES_ALL, false, show_hsm, "Show the token and the programs that use it"},
    {"show log audit [<filter...>]", OPERATIONAL, ROLES_ALL, false, show_audit,
     "Show who did what: last N, who ACCOUNT, failed, ..."},
    {"show approvals", OPERATIONAL, ROLES_ALL, false, show_approvals, "Show what waits for a second administrator"},
    {"show approvals <approval:number>", OPERATIONAL, ROLES_ALL, false, show_approval, "Show one, a commit with its changes"},
    {"show audit keys", OPERATIONAL, ROLES_ALL, false, show_audit_keys, "Show the keys that have signed the audit"},
    {"show log delivery [<filter...>]", OPERATIONAL, ROLES_ALL, false, show_deliveries,
     "Show what became of mail: last N, to ADDRESS, ..."},
    {"show queue [<id-or-filter...>]", OPERATIONAL, ROLES_ALL, false, show_queue,
     "Show undelivered mail: all, one id, or a choice"},
    {"show server [<server:name>]", OPERATIONAL, ROLES_ALL, false, show_server, "Show a server, or all, with what they use"},
    {"show servers", OPERATIONAL, ROLES_ALL, false, show_servers, "Show the servers of the running configuration"},
    {"show sessions [<filter...>]", OPERATIONAL, ROLES_ALL, false, show_sessions,
     "Show SMTP sessions: all, or server NAME, count N"},
    {"show statistics [<filter...>]", OPERATIONAL, ROLES_ALL, false, show_statistics,
     "Show mail by hour or day: last 24h, last 7d, DAY"},
    {"show tls", OPERATIONAL, ROLES_ALL, false, show_tls, "Show TLS certificates, and whether their keys sign"},
    {"show tls counters", OPERATIONAL, ROLES_ALL, false, show_tls_counters, "Show TLS connections and handshakes"},
    {"show system commit", OPERATIONAL, ROLES_ALL, false, show_commits, "Show the committed revisions"},
    {"show system programs", OPERATIONAL, ROLES_ALL, false, show_programs, "Show the programs that inkand watches"},

    {"system setup", OPERATIONAL, ROLE_ADMINISTRATOR, true, system_setup, "Make a first configuration by question and answer"},

    {"test mail from <from:mail-address> to <to:mail-address>", OPERATIONAL, ROLES_OPERATING, true, test_mail,
     "Send a test mail and follow it to its end"},
    {"test mail from <from:mail-address> to <to:mail-address> server <server:name>", OPERATIONAL, ROLES_OPERATING, true,
     test_mail, "The same by one of several servers"},

    {"configure", OPERATIONAL, ROLES_ALL, false, configure, "Enter configuration mode"},
    {"set <setting...>", EDITING, ROLES_OPERATING, true, set_setting, "Set a value in the candidate configuration"},
    {"delete <setting...>", EDITING, ROLES_OPERATING, true, delete_setting, "Delete a value, or all below a word"},
    {"show [<setting...>]", MODE_CONFIGURATION, ROLES_ALL, false, show_candidate, "Show the candidate configuration"},
    {"commit", EDITING, ROLES_OPERATING, true, commit, "Check the candidate and make the mail server run it"},
    {"commit check", EDITING, ROLES_OPERATING, false, commit_check, "Check the candidate only"},
    {"commit comment <text...>", EDITING, ROLES_OPERATING, true, commit_comment, "Commit with a comment"},
    {"commit confirmed [<minutes:number>]", EDITING, ROLES_OPERATING, true, commit_confirmed,
     "Commit; roll back (in 10) unless commit comes again"},
    {"commit confirmed <minutes:number> comment <text...>", EDITING, ROLES_OPERATING, true, commit_confirmed,
     "The same with a comment"},
    {"load merge <file-or-terminal>", EDITING, ROLES_OPERATING, true, load_merge,
     "Add a file's or pasted set lines to the candidate"},
    {"load override <file-or-terminal>", EDITING, ROLES_OPERATING, true, load_override,
     "Replace the candidate by a file or pasted lines"},
    {"save <file>", EDITING, ROLES_OPERATING, true, save_configuration, "Write the candidate to a file, as set lines"},
    {"rollback <revision:number>", EDITING, ROLES_OPERATING, true, rollback, "Take back: 0 edits, 1 the last commit, and so on"},
    {"run <command...>", MODE_CONFIGURATION, ROLES_ALL, false, run_operational, "Run a command of operational mode"},

    {"exit", ANY_MODE, ROLES_ALL, false, leave, "Leave this mode, or the console"},
    {"quit", ANY_MODE, ROLES_ALL, false, leave, "The same as exit"},
    {"help", ANY_MODE, ROLES_ALL, false, help, "List the commands"},
};

const size_t n_commands = sizeof commands / sizeof *commands;

struct sentences settings_sentences(bool partial)
{
	static struct sentence *items; /* of the program's life */

	if (items == NULL) {
		items = mem_new_array(n_setting_rows, sizeof *items);
		for (size_t i = 0; i < n_setting_rows; i++)
			items[i] = (struct sentence){setting_rows[i].path, &setting_rows[i], setting_rows[i].help};
	}
	return (struct sentences){items, n_setting_rows, partial};
}

static bool can_be_typed(const struct console *console, const struct command *command)
{
	unsigned mode = console->configuring ? MODE_CONFIGURATION : MODE_OPERATIONAL;

	if (!console->interactive)
		mode |= console->configuring ? 0 : MODE_SCRIPT;
	return (command->modes & mode) != 0;
}

struct sentences command_sentences(const struct console *console, size_t **indexes)
{
	struct sentence *items = mem_new_array(n_commands, sizeof *items);
	struct sentences sentences = {items, 0, false};

	*indexes = mem_new_array(n_commands, sizeof **indexes);
	for (size_t i = 0; i < n_commands; i++) {
		if (!can_be_typed(console, &commands[i]))
			continue;
		(*indexes)[sentences.count] = i;
		items[sentences.count++] = (struct sentence){commands[i].form, NULL, commands[i].help};
	}
	return sentences;
}

bool command_takes_settings(const struct command *command, bool *partial)
{
	if (strstr(command->form, "<setting...>") == NULL)
		return false;
	*partial = command->run != set_setting;
	return true;
}
