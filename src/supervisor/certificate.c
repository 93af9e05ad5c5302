#include "supervisor/certificate.h"

#include "base/mem.h"

#define FOLDER "var/tls"

char *certificate_path(const char *spool, const char *name)
{
	return xasprintf("%s/" FOLDER "/%s", spool, name);
}
