/* The strict reader of numbers. Bulk files hold some 100,000 of them, so the usual ones do not
 * go through the C library. */
#define _GNU_SOURCE /* strtod_l */
#include "vector_text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vexmodel.h"

/* A decimal number as it is written: digits * 10^exponent. */
struct decimal {
	bool negative;
	bool complete; /* `digits` holds all digits that were written */
	uint64_t digits;
	int exponent;
	const char *start;
	const char *end;
};

#define DIGITS_MAX 19	     /* any 19 digits fit 64 bits */
#define POWER_MAX 22	     /* 10^22 is the last power of ten that a double holds exactly */
#define EXPONENT_LIMIT 10000 /* beyond it only zero and overflow are left */

int vector_text_init(struct vector_text *text)
{
	text->fault[0] = '\0';
	text->neutral = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	return text->neutral ? 0 : -ENOMEM;
}

void vector_text_destroy(struct vector_text *text)
{
	freelocale(text->neutral);
}

int vector_text_refuse(struct vector_text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text->fault, sizeof(text->fault), format, arguments);
	va_end(arguments);
	return -EINVAL;
}

struct vector_lines vector_text_lines(const char *start, size_t bytes)
{
	return (struct vector_lines){.rest = start, .end = start + bytes};
}

bool vector_text_next_line(struct vector_lines *lines)
{
	size_t left = (size_t)(lines->end - lines->rest);
	const char *newline;

	if (left == 0)
		return false;
	newline = memchr(lines->rest, '\n', left);
	lines->number++;
	lines->line = lines->rest;
	lines->line_end = newline ? newline : lines->end;
	lines->rest = newline ? newline + 1 : lines->end;
	if (newline && newline > lines->line && newline[-1] == '\r')
		lines->line_end--;
	return true;
}

static bool is_digit(const char *at, const char *end)
{
	return at != end && *at >= '0' && *at <= '9';
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at != end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

/* Takes digits into the number; `shift` is what each of them adds to the exponent. */
static const char *take_digits(struct decimal *number, const char *at, const char *end, int shift)
{
	for (; is_digit(at, end); at++) {
		if (number->digits >= UINT64_C(1000000000000000000)) {
			/* 19 significant digits are held; strtod takes care of longer ones. */
			number->complete = false;
			continue;
		}
		number->digits = number->digits * 10 + (uint64_t)(*at - '0');
		number->exponent += shift;
	}
	return at;
}

/* The exponent behind `e`; NULL when there are no digits. */
static const char *take_exponent(struct decimal *number, const char *at, const char *end)
{
	bool negative = at != end && *at == '-';
	int exponent = 0;

	if (at != end && (*at == '-' || *at == '+'))
		at++;
	if (!is_digit(at, end))
		return NULL;
	for (; is_digit(at, end); at++)
		if (exponent < EXPONENT_LIMIT)
			exponent = exponent * 10 + (*at - '0');
	number->exponent += negative ? -exponent : exponent;
	return at;
}

/* Reads the grammar of a number from `at`; false when there is none. */
static bool scan(struct decimal *number, const char *at, const char *end)
{
	const char *whole;
	const char *fraction;

	*number = (struct decimal){.complete = true, .start = at};
	if (at != end && (*at == '-' || *at == '+')) {
		number->negative = *at == '-';
		at++;
	}
	whole = at;
	at = take_digits(number, at, end, 0);
	if (at != end && *at == '.') {
		fraction = at + 1;
		at = take_digits(number, fraction, end, -1);
		if (at == fraction && fraction == whole + 1)
			return false; /* a lone point */
	} else if (at == whole) {
		return false;
	}
	if (at != end && (*at == 'e' || *at == 'E')) {
		at = take_exponent(number, at + 1, end);
		if (!at)
			return false;
	}
	number->end = at;
	return true;
}

/* digits * 10^exponent where that is certain to be the float nearest to the number. Conversion
 * and one multiplication or division are off by less than 2^-52 together; if both ends of an
 * interval of twice that width round to the same float, so does the number itself. */
static bool convert_quickly(const struct decimal *number, float *out)
{
	static const double powers[POWER_MAX + 1] = {
		1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,	1e8,  1e9,  1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
	};
	const double margin = 0x1p-51;
	double value = (double)number->digits;

	if (!number->complete || number->exponent < -POWER_MAX || number->exponent > POWER_MAX)
		return false;
	if (number->exponent < 0)
		value /= powers[-number->exponent];
	else
		value *= powers[number->exponent];
	*out = (float)(value * (1 - margin));
	if (*out != (float)(value * (1 + margin)))
		return false;
	if (number->negative)
		*out = -*out;
	return true;
}

/* Any number, through the C library; false when it is written with too many characters. */
static bool convert_slowly(const struct vector_text *text, const struct decimal *number, float *out)
{
	char copy[VECTOR_NUMBER_BYTES_MAX + 1];
	size_t bytes = (size_t)(number->end - number->start);

	if (bytes > VECTOR_NUMBER_BYTES_MAX)
		return false;
	memcpy(copy, number->start, bytes);
	copy[bytes] = '\0';
	*out = (float)strtod_l(copy, NULL, text->neutral);
	return true;
}

int vector_text_read(struct vector_text *text, const struct vector_lines *lines, float *out,
		     uint32_t dimensions)
{
	const char *at = lines->line;
	const char *end = lines->line_end;
	struct decimal number;

	for (uint32_t n = 0;; n++) {
		at = skip_blanks(at, end);
		if (!scan(&number, at, end))
			return vector_text_refuse(text, "line %u: number %u is not a number",
						  lines->number, n + 1);
		at = skip_blanks(number.end, end);
		if (at != end && *at != ',')
			return vector_text_refuse(text, "line %u: number %u is followed by garbage",
						  lines->number, n + 1);
		if (n == dimensions)
			return vector_text_refuse(text, "line %u: more than %u numbers",
						  lines->number, dimensions);
		if (!convert_quickly(&number, &out[n]) &&
		    !convert_slowly(text, &number, &out[n]))
			return vector_text_refuse(text, "line %u: number %u is too long",
						  lines->number, n + 1);
		if (!(fabsf(out[n]) <= (float)VECTOR_COMPONENT_MAX))
			return vector_text_refuse(text, "line %u: number %u is beyond %g",
						  lines->number, n + 1, VECTOR_COMPONENT_MAX);
		if (at == end) {
			if (n + 1 == dimensions)
				return 0;
			return vector_text_refuse(text, "line %u: %u numbers, expected %u",
						  lines->number, n + 1, dimensions);
		}
		at++;
	}
}
