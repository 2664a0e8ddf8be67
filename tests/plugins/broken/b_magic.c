/* A descriptor of something else. */
#define BROKEN_MAGIC 0xdeadbeefu
#include "broken.h"
BROKEN_PLUGIN("b_magic")
