/* What the parts of ai_local offer each other. */
#ifndef AI_LOCAL_IMAGE_OPS_H
#define AI_LOCAL_IMAGE_OPS_H

#include "picture.h"
#include <vips/vips.h>

/* Encodes a finished vips image into the result; see picture_save. */
bool image_save(work *w, VipsImage *image);

/* ---- subject.c ---- */

typedef struct {
    float x, y;         /* centre, pixels */
    float w, h;
    bool found;         /* false: a guess from where the eye goes */
} spot;

/* The largest skin-coloured shape of a likely place and form; else the attention centre. */
spot find_face(work *w, const picture *from);
/* 1 where the subject is, 0 where the background is; edges follow the picture. */
plane *find_subject(work *w, const picture *from);

/* ---- the operations ---- */

bool run_edit(work *w);
bool run_compose(work *w);
bool run_generate(work *w);
bool run_enhance(work *w);
void draw_crown(work *w, picture *p);

#endif
