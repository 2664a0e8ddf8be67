/* The schema that this code was built for. */
#include "migrate.h"
#include "mod_pixshift/db/schema_version.h"

int px_schema_version(void)
{
    return PX_SCHEMA_VERSION;
}
