/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/fmt.h"

#include <string.h>

struct out {
	char *at;
	char *end; /* the byte that the NUL may need */
};

struct spec {
	bool left, zero;
	size_t width, precision;
	unsigned longs; /* 0 int, else 64 bits */
};

static void put(struct out *out, char c)
{
	if (out->at < out->end)
		*out->at++ = c;
}

static void put_times(struct out *out, char c, size_t times)
{
	/* What does not fit is cut, so a huge width need not be counted down. */
	for (times = hk_min(times, (size_t)(out->end - out->at)); times > 0; times--)
		put(out, c);
}

static void put_text(struct out *out, const struct spec *spec, const char *text)
{
	size_t length = strnlen(text ? text : "(null)", spec->precision);
	size_t fill = spec->width > length ? spec->width - length : 0;

	if (!spec->left)
		put_times(out, ' ', fill);
	for (size_t i = 0; i < length; i++)
		put(out, text ? text[i] : "(null)"[i]);
	if (spec->left)
		put_times(out, ' ', fill);
}

static void put_char(struct out *out, const struct spec *spec, char c)
{
	size_t fill = spec->width > 1 ? spec->width - 1 : 0;

	if (!spec->left)
		put_times(out, ' ', fill);
	put(out, c);
	if (spec->left)
		put_times(out, ' ', fill);
}

static void put_number(struct out *out, const struct spec *spec, const char *prefix, uint64_t value,
		       unsigned base)
{
	char digits[20]; /* 2^64 in decimal */
	size_t count = 0, length, fill;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	length = count + strlen(prefix);
	fill = spec->width > length ? spec->width - length : 0;
	if (!spec->left && !spec->zero)
		put_times(out, ' ', fill);
	while (*prefix)
		put(out, *prefix++);
	if (!spec->left && spec->zero)
		put_times(out, '0', fill);
	while (count > 0)
		put(out, digits[--count]);
	if (spec->left)
		put_times(out, ' ', fill);
}

static size_t read_count(const char **fmt)
{
	size_t count = 0;

	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		count = count * 10 + (size_t)(**fmt - '0');
	return count;
}

static struct spec read_spec(const char **fmt)
{
	struct spec spec = { .precision = SIZE_MAX };

	for (; **fmt == '-' || **fmt == '0'; (*fmt)++) {
		spec.left |= **fmt == '-';
		spec.zero |= **fmt == '0';
	}
	spec.width = read_count(fmt);
	if (**fmt == '.') {
		(*fmt)++;
		spec.precision = read_count(fmt);
	}
	for (; **fmt == 'l' || **fmt == 'z'; (*fmt)++)
		spec.longs++;
	return spec;
}

static void put_signed(struct out *out, const struct spec *spec, int64_t value)
{
	uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;

	put_number(out, spec, value < 0 ? "-" : "", magnitude, 10);
}

static void put_argument(struct out *out, const struct spec *spec, char conversion, va_list *args)
{
	switch (conversion) {
	case 's':
		put_text(out, spec, va_arg(*args, const char *));
		break;
	case 'c':
		put_char(out, spec, (char)va_arg(*args, int));
		break;
	case 'd':
		put_signed(out, spec, spec->longs ? va_arg(*args, long) : va_arg(*args, int));
		break;
	case 'u':
	case 'x':
		put_number(out, spec, "",
			   spec->longs ? va_arg(*args, unsigned long) : va_arg(*args, unsigned),
			   conversion == 'x' ? 16 : 10);
		break;
	case 'p':
		put_number(out, spec, "0x", (uintptr_t)va_arg(*args, void *), 16);
		break;
	default: /* %% */
		put(out, conversion);
	}
}

size_t hk_vfmt(char *buf, size_t size, const char *fmt, va_list args)
{
	struct out out = { buf, buf + size - 1 };
	va_list rest; /* a parameter's address is not a va_list * where va_list is an array */

	va_copy(rest, args);
	while (*fmt) {
		struct spec spec;

		if (*fmt != '%') {
			put(&out, *fmt++);
			continue;
		}
		fmt++;
		spec = read_spec(&fmt);
		if (*fmt == '\0')
			break;
		put_argument(&out, &spec, *fmt++, &rest);
	}
	va_end(rest);
	*out.at = '\0';
	return (size_t)(out.at - buf);
}

size_t hk_fmt(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t length;

	va_start(args, fmt);
	length = hk_vfmt(buf, size, fmt, args);
	va_end(args);
	return length;
}
