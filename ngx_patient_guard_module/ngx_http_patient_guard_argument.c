
#include "ngx_http_patient_guard_argument.h"


#define NGX_HTTP_PATIENT_GUARD_FILE_MAX  4096  /* of a secret */


char *
ngx_http_patient_guard_once(ngx_conf_t *cf)
{
    u_char      *equals;
    size_t       len;
    ngx_str_t   *value;
    ngx_uint_t   i, n;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        equals = ngx_strlchr(value[i].data, value[i].data + value[i].len,
                             '=');
        if (equals == NULL) {
            continue;
        }

        len = equals + 1 - value[i].data;

        for (n = 1; n < i; n++) {

            if (value[n].len >= len
                && ngx_strncmp(value[n].data, value[i].data, len) == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "parameter \"%V\" of \"%V\" is given "
                                   "twice", &value[i], &value[0]);
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_patient_guard_given(ngx_str_t *argument, const char *name,
    ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (argument->len <= len || ngx_strncmp(argument->data, name, len) != 0) {
        return 0;
    }

    value->data = argument->data + len;
    value->len = argument->len - len;

    return 1;
}


char *
ngx_http_patient_guard_read_lines(ngx_conf_t *cf, const char *directive,
    ngx_str_t *file, ngx_str_t *lines, ngx_uint_t n)
{
    char            *rv;
    u_char          *p, *last, *eol, *buf;
    ssize_t          size;
    ngx_fd_t         fd;
    ngx_uint_t       i;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\" file \"%V\" can't be opened", directive,
                           file);
        return NGX_CONF_ERROR;
    }

    rv = NGX_CONF_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", file);
        goto done;
    }

    if (!ngx_is_file(&fi) || ngx_file_size(&fi) == 0
        || ngx_file_size(&fi) > NGX_HTTP_PATIENT_GUARD_FILE_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" file \"%V\" is empty or no file of %d "
                           "bytes at most", directive, file,
                           NGX_HTTP_PATIENT_GUARD_FILE_MAX);
        goto done;
    }

    if (ngx_file_access(&fi) & S_IROTH) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" file \"%V\" is readable by others, "
                           "expected a mode such as 0640", directive, file);
        goto done;
    }

    buf = ngx_pnalloc(cf->pool, ngx_file_size(&fi));
    if (buf == NULL) {
        goto done;
    }

    size = ngx_read_fd(fd, buf, ngx_file_size(&fi));

    if (size == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", file);
        goto done;
    }

    p = buf;
    last = buf + size;

    for (i = 0; i < n; i++) {
        eol = ngx_strlchr(p, last, LF);
        if (eol == NULL) {
            eol = last;
        }

        lines[i].data = p;
        lines[i].len = eol - p;

        if (lines[i].len && p[lines[i].len - 1] == CR) {
            lines[i].len--;
        }

        p = eol < last ? eol + 1 : last;
    }

    rv = NGX_CONF_OK;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", file);
    }

    return rv;
}
