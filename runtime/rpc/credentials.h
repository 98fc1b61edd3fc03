/* Plaintext, TLS or mutual TLS for servers and channels, from files that are watched: a rotated
 * certificate is used by new connections within `reload_seconds`, without a restart. */
#ifndef LOCKSTEP_RUNTIME_RPC_CREDENTIALS_H
#define LOCKSTEP_RUNTIME_RPC_CREDENTIALS_H

#include <stdbool.h>

#include "runtime/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_tls {
  bool enabled;                 /* false: plaintext, and nothing else is read */
  const char *certificate_file; /* PEM chain; a server needs it, a client only for mutual TLS */
  const char *key_file;         /* PEM private key of the certificate */
  const char *authority_file;   /* PEM of the authorities that the peer's certificate is checked by;
                                   a client without one takes the system's */
  bool require_client_certificate; /* server: mutual TLS; needs authority_file */
  unsigned reload_seconds;         /* how often files are looked at; 0: 30 */
} ls_rpc_tls;

/* Checks that the named files are there, readable and go together in kind; LS_FAILED_PRECONDITION
 * with the file's name if not. Any thread. */
bool ls_rpc_tls_check(const ls_rpc_tls *tls, bool server, ls_error *error);

#ifdef __cplusplus
}
#endif

#endif
