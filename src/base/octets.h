/* Numbers as protocols carry them: octets in network byte order. */
#ifndef MFDRELAY_BASE_OCTETS_H
#define MFDRELAY_BASE_OCTETS_H

/* The number of 16 bits in the two octets at p. */
static inline unsigned octets_16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

#endif
