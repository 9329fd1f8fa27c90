
/* rooms: ngx_patient_guard_image */


/* windows as bytes, and bytes that are none */


#include "ngx_patient_guard_image.h"
#include "tap.h"


#define SET  3


static u_char  text[NGX_PATIENT_GUARD_IMAGE_SIZE + 4 + 8 * SET];


static u_char *
put(u_char *p, uint64_t value, int bytes)
{
    while (bytes--) {
        *p++ = (u_char) value;
        value >>= 8;
    }

    return p;
}


/* newest, total, what is in slice 0, how many aliases */

static void
forge(uint64_t newest, uint64_t total, uint64_t counted, uint64_t nset)
{
    int      i;
    u_char  *p;

    memset(text, 0, sizeof(text));

    p = put(text, newest, 8);
    p = put(p, total, 4);
    p = put(p, counted, 4);
    p = put(text + NGX_PATIENT_GUARD_IMAGE_SIZE, nset, 4);

    for (i = 1; i <= SET; i++) {
        p = put(p, 0x0101010101010100ULL + i, 8);
    }
}


/* read from a copy that ends where the text does */

static ngx_int_t
reads(size_t len, ngx_patient_guard_image_t *image, size_t *used)
{
    u_char     *copy, *p;
    ngx_int_t   rc;

    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);

    p = copy;
    image->set = copy;

    rc = ngx_patient_guard_image_read(&p, copy + len, image);
    *used = p - copy;

    image->set = text + (image->set - copy);
    free(copy);

    return rc;
}


static ngx_int_t
read_all(void)
{
    size_t                     used;
    ngx_patient_guard_image_t  image;

    return reads(sizeof(text), &image, &used);
}


static void
there_and_back(void)
{
    int                         i, same;
    size_t                      used;
    uint64_t                    total;
    u_char                     *p;
    ngx_patient_guard_image_t   image, back;

    memset(&image, 0, sizeof(image));

    image.newest = 0x0001020304050607ULL;
    total = 0;

    for (i = 0; i < NGX_PATIENT_GUARD_IMAGE_COUNTS; i++) {
        image.counts[i] = 0x1000000 + i;
        total += image.counts[i];
    }

    image.total = (uint32_t) total;

    memset(text, 0xff, sizeof(text));
    p = ngx_patient_guard_image_write(text, &image);

    is(p - text, NGX_PATIENT_GUARD_IMAGE_SIZE, "written, in its size");
    is(NGX_PATIENT_GUARD_IMAGE_SIZE, 144, "which is that of the script");
    ok(memcmp(text, "\7\6\5\4\3\2\1\0", 8) == 0, "little-endian");
    ok(memcmp(text + 12, "\0\0\0\1\1\0\0\1", 8) == 0, "slice after slice");

    (void) put(p, SET, 4);

    is(reads(sizeof(text), &back, &used), NGX_OK, "and read");
    is(used, sizeof(text), "with its set");

    same = back.newest == image.newest && back.total == image.total
           && back.nset == SET;

    for (i = 0; i < NGX_PATIENT_GUARD_IMAGE_COUNTS; i++) {
        same &= (back.counts[i] == image.counts[i]);
    }

    ok(same, "what was written");
}


static void
slices_have_places(void)
{
    int                         i;
    uint64_t                    seen;
    ngx_patient_guard_image_t   image;

    seen = 0;

    for (i = 0; i <= NGX_PATIENT_GUARD_SLICES; i++) {
        seen |= (uint64_t) 1
                << (&ngx_patient_guard_image_count(&image, 1000000 - i)
                    - image.counts);
    }

    ok(seen == ((uint64_t) 1 << 33) - 1, "each of 33 slices has its own");
}


static void
sets(void)
{
    size_t                     used;
    ngx_patient_guard_image_t  image;

    forge(100, 3, 3, 3);
    is(reads(sizeof(text), &image, &used), NGX_OK, "three patients, by name");
    ok(ngx_patient_guard_image_patient(&image, 0) == 0x0101010101010101ULL
       && ngx_patient_guard_image_patient(&image, 2) == 0x0101010101010103ULL,
       "who they are");

    forge(100, 5, 5, 2);
    is(reads(sizeof(text), &image, &used), NGX_OK, "the last two of five");
    is(used, sizeof(text) - 8, "and what is behind is left");

    forge(100, 0, 0, 0);
    is(reads(sizeof(text) - 8 * SET, &image, &used), NGX_OK, "nobody");
}


static void
cut_off(void)
{
    size_t                     len, used, wrong;
    ngx_patient_guard_image_t  image;

    forge(100, 3, 3, 3);

    wrong = 0;

    for (len = 0; len < sizeof(text); len++) {
        wrong += (reads(len, &image, &used) != NGX_ERROR);
    }

    is(wrong, 0, "whatever is missing at the end, it is none");
}


static void
what_is_none(void)
{
    forge(100, 4, 3, 3);
    is(read_all(), NGX_ERROR, "a total that is not that of the counts");

    forge(100, 2, 2, 3);
    is(read_all(), NGX_ERROR, "more patients than are counted");

    forge(100, 0xffffffff, 0xffffffff, 0xffffffff);
    is(read_all(), NGX_ERROR, "more than there are");

    forge(100, 0xffffffff, 0xffffffff, 0x20000003);
    is(read_all(), NGX_ERROR, "or whose bytes are none in 32 bits");

    forge(100, 1, 0xffffffff, 0);
    (void) put(text + 16, 2, 4);
    is(read_all(), NGX_ERROR, "counts that are more than 32 bits");

    forge(32, 3, 3, 3);
    is(read_all(), NGX_ERROR, "a slice with no 32 before it");

    forge(33, 3, 3, 3);
    is(read_all(), NGX_OK, "the first one that has");

    forge((uint64_t) 1 << 52, 3, 3, 3);
    is(read_all(), NGX_ERROR, "a slice that Redis could not tell from others");

    forge(((uint64_t) 1 << 52) - 1, 3, 3, 3);
    is(read_all(), NGX_OK, "the last one that it can");
}


static void
in_doubt(void)
{
    u_char                     *p;
    ngx_patient_guard_doubt_t   doubt;

    memcpy(doubt.session, "sessions", 8);
    doubt.number = 0x0102030405060708ULL;
    doubt.when = 0x1112131415161718ULL;
    doubt.count = 0x21222324;
    doubt.novel = 0x31323334;

    p = ngx_patient_guard_doubt_write(text, &doubt);

    is(p - text, NGX_PATIENT_GUARD_DOUBT_SIZE, "a doubt, in its size");
    ok(memcmp(text, "sessions\10\7\6\5\4\3\2\1\x18\x17\x16\x15\x14\x13\x12\x11"
                    "\x24\x23\x22\x21\x34\x33\x32\x31", 32) == 0,
       "session, number, when, how many, and how many of them were new");
}


int
main(void)
{
    there_and_back();
    slices_have_places();
    sets();
    cut_off();
    what_is_none();
    in_doubt();

    return done();
}
