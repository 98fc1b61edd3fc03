/* Credentials of the C core from files that are watched. */
#include "runtime/rpc/credentials.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <grpc/grpc_security.h>

#include "runtime/rpc/internal.h"

static bool given(const char *file) {
  return file != NULL && file[0] != '\0';
}

static bool check_readable(const char *what, const char *file, ls_error *error) {
  if (!given(file) || access(file, R_OK) == 0)
    return true;
  return ls_error_set(error, LS_FAILED_PRECONDITION, false, "", "TLS %s file %s cannot be read: %s",
                      what, file, strerror(errno));
}

bool ls_rpc_tls_check(const ls_rpc_tls *tls, bool server, ls_error *error) {
  if (!tls->enabled)
    return true;
  if (given(tls->certificate_file) != given(tls->key_file))
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, "",
                        "TLS needs a certificate file and a key file together");
  if (server && !given(tls->certificate_file))
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, "",
                        "TLS on a server needs a certificate file and a key file");
  if (server && tls->require_client_certificate && !given(tls->authority_file))
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, "",
                        "client certificates are required, but there is no authority file to check "
                        "them by");
  return check_readable("certificate", tls->certificate_file, error) &&
         check_readable("key", tls->key_file, error) &&
         check_readable("authority", tls->authority_file, error);
}

static grpc_tls_credentials_options *make_options(const ls_rpc_tls *tls) {
  bool identity = given(tls->certificate_file);
  bool authority = given(tls->authority_file);
  grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
  if (!identity && !authority)
    return options;
  unsigned interval = tls->reload_seconds > 0 ? tls->reload_seconds : 30;
  grpc_tls_certificate_provider *provider = grpc_tls_certificate_provider_file_watcher_create(
      identity ? tls->key_file : "", identity ? tls->certificate_file : "",
      authority ? tls->authority_file : "", interval);
  grpc_tls_credentials_options_set_certificate_provider(options, provider);
  grpc_tls_certificate_provider_release(provider);
  if (authority)
    grpc_tls_credentials_options_watch_root_certs(options);
  if (identity)
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
  return options;
}

grpc_server_credentials *ls_rpc_server_credentials(const ls_rpc_tls *tls, ls_error *error) {
  if (!tls->enabled)
    return grpc_insecure_server_credentials_create();
  if (!ls_rpc_tls_check(tls, true, error))
    return NULL;
  grpc_tls_credentials_options *options = make_options(tls);
  grpc_tls_credentials_options_set_cert_request_type(
      options, tls->require_client_certificate
                   ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  grpc_server_credentials *credentials = grpc_tls_server_credentials_create(options);
  if (credentials == NULL)
    ls_error_set(error, LS_FAILED_PRECONDITION, false, "", "TLS credentials were refused");
  return credentials;
}

grpc_channel_credentials *ls_rpc_channel_credentials(const ls_rpc_tls *tls, ls_error *error) {
  if (!tls->enabled)
    return grpc_insecure_credentials_create();
  if (!ls_rpc_tls_check(tls, false, error))
    return NULL;
  grpc_tls_credentials_options *options = make_options(tls);
  grpc_channel_credentials *credentials = grpc_tls_credentials_create(options);
  if (credentials == NULL)
    ls_error_set(error, LS_FAILED_PRECONDITION, false, "", "TLS credentials were refused");
  return credentials;
}
