/* What family.c and family_values.c share. */
#ifndef KL_ENGINE_FAMILY_H
#define KL_ENGINE_FAMILY_H

#include "../klfast.h"

/* Where parameter number j of the rows lies, d numbers a row. */
kl_part kl_family_part(const kl_rows *, int j, int64_t d);

/* Whether row i, which has been read, may be used; `of`: 0 or KL_ROW_OF_Q. If not, the statistics say why. */
int kl_family_checked(const kl_rows *, const double *row, int64_t i, int of, kl_stats *);

#endif
