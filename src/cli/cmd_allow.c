#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/open.h"
#include "cli/options.h"
#include "cli/reload.h"
#include "config/config.h"
#include "config/drop_ins.h"
#include "config/values.h"

static const char usage[] = "usage: mfdrelay allow ADDRESS|NETWORK --name NAME [-c FILE]\n"
			    "\n"
			    "Let a device in: write its entry of devices to conf.d/NAME.conf beside the "
			    "config, check the whole config\n"
			    "with it, and reload the relay that runs. Where the check or anything before it "
			    "fails, nothing is changed.\n"
			    "  --name NAME   its name in logs and the queue: letters, digits, '.', '_', '-'\n"
			    "  -c FILE       the config (default " CONFIG_DEFAULT_FILE ")\n";

/* What is asked for, and where it goes. */
struct entry {
	const char *name;
	struct prefix prefix;
	char prefix_text[64];
	char *folder, *file; /* "conf.d", "conf.d/NAME.conf", as the config's path has them */
};

static int refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int refuse(const char *format, ...)
{
	va_list args;

	fputs("mfdrelay allow: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("; nothing was changed\n", stderr);
	return 1;
}

static bool is_listed(const struct device *device, const struct prefix *prefix)
{
	for (size_t i = 0; i < device->prefix_count; i++)
		if (device->prefixes[i].bits == prefix->bits &&
		    prefix_holds(&device->prefixes[i], &prefix->address))
			return true;
	return false;
}

/* Returns 0 when neither the name nor the address is there already. */
static int look_for_it(const struct config *config, const struct entry *entry)
{
	for (size_t i = 0; i < config->device_count; i++) {
		const struct device *device = &config->devices[i];
		if (strcasecmp(device->name, entry->name) == 0)
			return refuse(
			    "there is a device of that name: choose another with --name, or change its entry "
			    "of devices");
		if (is_listed(device, &entry->prefix))
			return refuse("%s is in devices already, as \"%s\": change that entry",
			    entry->prefix_text, device->name);
	}
	if (access(entry->file, F_OK) == 0)
		return refuse(
		    "%s is there already: choose another name with --name, or remove it", entry->file);
	return 0;
}

static char *entry_text(const struct entry *entry)
{
	char now[40];

	return xasprintf("# mfdrelay allow, %s\n"
			 "devices = (\n"
			 "  { name = \"%s\"; address = \"%s\"; }\n"
			 ");\n",
	    clock_rfc3339(now, sizeof now, clock_wall_ms()), entry->name, entry->prefix_text);
}

/* As the main file: who reads that one must be able to read this one. */
static int set_owner(int folder, const char *name, const char *main)
{
	struct stat st;

	if (stat(main, &st) < 0)
		return -1;
	if (geteuid() == 0 && fchownat(folder, name, st.st_uid, st.st_gid, 0) < 0)
		return -1;
	return fchmodat(folder, name, st.st_mode & 0644, 0);
}

static int open_folder(const struct entry *entry)
{
	/* Whatever the umask: the daemon's user must be able to look into it. */
	if (mkdir(entry->folder, 0755) == 0)
		chmod(entry->folder, 0755);
	return open(entry->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int write_file(int folder, const char *name, const struct entry *entry, const char *main)
{
	char *temp = xasprintf(".%s.tmp", entry->name), *text = entry_text(entry);
	int result = fs_replace_file(folder, temp, name, text, strlen(text));

	if (result == 0 && (result = set_owner(folder, name, main)) < 0) {
		int saved_errno = errno;
		unlinkat(folder, name, 0);
		errno = saved_errno;
	}
	free(temp);
	free(text);
	return result;
}

static int write_entry(const struct entry *entry, const char *main)
{
	char *name = xasprintf("%s" DROP_INS_SUFFIX, entry->name);
	int folder = open_folder(entry);
	int result = folder >= 0 ? write_file(folder, name, entry, main) : -1;

	if (result < 0)
		refuse("%s: %s%s", entry->file, strerror(errno), errno == EACCES ? "; run this as root" : "");
	if (folder >= 0)
		close(folder);
	free(name);
	return result;
}

static int allow(struct entry *entry, const char *main)
{
	int status;
	struct config *config = load_or_tell(main, NULL, &status);

	if (config == NULL)
		return refuse("the config has errors: correct them first");
	status = 1;
	if (look_for_it(config, entry) == 0 && write_entry(entry, main) == 0) {
		config_free(config);
		config = load_or_tell(main, entry->file, &status);
		if (config == NULL) {
			unlink(entry->file);
			return refuse("with that entry the config has errors");
		}
		printf("%s: %s may send, as \"%s\"\n", entry->file, entry->prefix_text, entry->name);
		fflush(stdout);
		status = reload_daemon(config);
	}
	config_free(config);
	return status;
}

static int parse(const struct options *options, struct entry *entry)
{
	if (options->argc != 1 || options->name == NULL) {
		fprintf(stderr, "mfdrelay: allow needs ADDRESS and --name NAME\n\n%s", usage);
		return EX_USAGE;
	}
	if (!value_prefix(options->argv[0], &entry->prefix)) {
		fprintf(stderr,
		    "mfdrelay allow: \"%.64s\" is no address; write 10.1.2.17, 10.1.3.0/24 or fd00:3::/64\n",
		    options->argv[0]);
		return EX_USAGE;
	}
	if (!value_is_name(options->name) || options->name[0] == '.') {
		fprintf(stderr,
		    "mfdrelay allow: --name \"%.64s\": a name is up to 64 letters, digits, '.', '_' and '-', "
		    "and "
		    "does not begin with '.'\n",
		    options->name);
		return EX_USAGE;
	}
	entry->name = options->name;
	value_prefix_text(entry->prefix_text, sizeof entry->prefix_text, &entry->prefix);
	return 0;
}

int cmd_allow(int argc, char **argv)
{
	struct options options;
	struct entry entry = {.name = NULL};
	int status = options_parse(argc, argv, "ca+", usage, &options);

	if (status >= 0)
		return status;
	status = parse(&options, &entry);
	if (status != 0)
		return status;
	entry.folder = drop_ins_folder(options.file);
	entry.file = xasprintf("%s/%s" DROP_INS_SUFFIX, entry.folder, entry.name);
	status = allow(&entry, options.file);
	free(entry.folder);
	free(entry.file);
	return status;
}
