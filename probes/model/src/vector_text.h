/* Reads lines of comma-separated numbers, and nothing else.
 *
 * A number is decimal: sign, digits with or without a point, exponent. No hexadecimal, no
 * infinity, no "nan", no thousands separator; the point is a point in every locale. Blanks and
 * tabs may stand around a number, a carriage return before the end of a line.
 */
#ifndef VECTOR_TEXT_H
#define VECTOR_TEXT_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vector_text {
	locale_t neutral;
	char fault[128]; /* why the last reading was refused */
};

struct vector_lines {
	const char *rest; /* not read yet */
	const char *end;
	const char *line; /* the present one, without its end */
	const char *line_end;
	uint32_t number; /* of the present one, from 1 */
};

int vector_text_init(struct vector_text *text);
void vector_text_destroy(struct vector_text *text);

struct vector_lines vector_text_lines(const char *start, size_t bytes);
/* Goes to the next line; false when there is none. The last line need not have an end. */
bool vector_text_next_line(struct vector_lines *lines);

/* Reads the present line as `dimensions` numbers into `out`; 0 or -EINVAL with the fault. */
int vector_text_read(struct vector_text *text, const struct vector_lines *lines, float *out,
		     uint32_t dimensions);

/* Notes why a text is refused; always -EINVAL. */
int vector_text_refuse(struct vector_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
