/* What a run is to have done at least once: a simulation in which something never happens proves
 * nothing about it. */
#ifndef LOCKSTEP_TESTS_SIMULATION_COVERAGE_H
#define LOCKSTEP_TESTS_SIMULATION_COVERAGE_H

/* X(NAME, "in words") */
#define SIMULATION_COVERAGE(X)                                                                     \
  X(COMMITTED, "transaction committed")                                                            \
  X(COMMITTED_LATE, "transaction committed after a later row was read")                            \
  X(ROLLED_BACK, "transaction rolled back")                                                        \
  X(ROLLED_BACK_ROW, "transaction rolled back with rows: a gap for good")                          \
  X(LOCK_REFUSED, "row lock was held by another transaction")                                      \
  X(REPUBLISHED, "order republished")                                                              \
  X(ORDER_CANCELLED, "order cancelled")                                                            \
  X(ORDERS_DATABASE_CRASHED, "order's database crashed")                                           \
  X(CHECKPOINT_LOST, "a checkpoint was lost with it")                                              \
  X(IDS_REPEATED, "transaction ids were given out again after it")                                 \
  X(NUMBERS_SKIPPED, "sequence numbers were skipped after it")                                     \
  X(MODE_SWITCHED, "mode switched")                                                                \
  X(LED, "relay took the leadership")                                                              \
  X(LED_WITH_GAPS, "relay took the leadership with gaps")                                          \
  X(READ, "relay read rows")                                                                       \
  X(READ_CUT, "relay read only a part of the fresh rows")                                          \
  X(READ_FULL_GAPS, "relay read as many rows from gaps as it may")                                 \
  X(READ_PARTED, "others wrote between a snapshot and its end")                                    \
  X(DEFERRED, "relay deferred an order's row")                                                     \
  X(DEFERRED_READ, "relay read what was deferred")                                                 \
  X(GAP_FOUND, "relay found a gap")                                                                \
  X(GAP_FILLED, "relay found a row in its gap")                                                    \
  X(GAP_ENDED, "relay found that a gap stays empty")                                               \
  X(SENT, "event sent")                                                                            \
  X(SENT_AGAIN, "event sent that Kafka has already")                                               \
  X(ACKNOWLEDGED, "event acknowledged")                                                            \
  X(FAILED_UNWRITTEN, "send failed")                                                               \
  X(FAILED_WRITTEN, "send failed, but was written")                                                \
  X(FAILED_LARGE, "send failed as too large")                                                      \
  X(RETRIED, "relay tried failed sends again")                                                     \
  X(CHECKPOINTED, "checkpoint")                                                                    \
  X(CHECKPOINTED_GAPS, "checkpoint with gaps")                                                     \
  X(RELAY_CRASHED, "relay crashed")                                                                \
  X(RELAY_CRASHED_READING, "relay crashed between a snapshot and its end")                         \
  X(RELAY_CRASHED_IN_FLIGHT, "relay crashed with sends in flight")                                 \
  X(SESSION_LOST, "leader lost its session and did not know")                                      \
  X(ZOMBIE_SENT, "relay without leadership sent")                                                  \
  X(LANDED_LATE, "send landed after its relay had given it up")                                    \
  X(VANISHED, "send never landed")                                                                 \
  X(POLLED, "consumer took a batch")                                                               \
  X(POLLED_MIXED, "consumer took a batch from several partitions")                                 \
  X(LOOKUP_CURRENT, "lookup: current")                                                             \
  X(LOOKUP_OLD, "lookup: old state")                                                               \
  X(LOOKUP_MISSING, "lookup: no such order")                                                       \
  X(LOOKUP_FAILED, "lookup: failed for the order")                                                 \
  X(LOOKUP_DOWN, "lookup: order service down")                                                     \
  X(KNOWN_MOVED, "delivery moved on between look-up and apply")                                    \
  X(APPLIED_SNAPSHOT, "applied a snapshot")                                                        \
  X(APPLIED_LOOKUP, "applied a lookup")                                                            \
  X(STALE, "event was stale")                                                                      \
  X(OVERTAKEN, "event was overtaken")                                                              \
  X(DUPLICATE, "event was a duplicate")                                                            \
  X(COALESCED, "event was coalesced")                                                              \
  X(PENDING_NEW, "order became pending")                                                           \
  X(PENDING_AGAIN, "pending order was asked for again")                                            \
  X(APPLY_FAILED, "transaction of a batch failed")                                                 \
  X(APPLY_UNKNOWN, "transaction of a batch was done, the answer lost")                             \
  X(CRASHED_TAKEN, "consumer crashed before the lookup")                                           \
  X(CRASHED_LOOKED_UP, "consumer crashed after the lookup")                                        \
  X(CRASHED_APPLIED, "consumer crashed after apply, before its offsets")                           \
  X(CRASHED_COMMITTED, "consumer crashed after its offsets")                                       \
  X(OFFSETS_COMMITTED, "offsets committed")                                                        \
  X(OFFSETS_REFUSED, "offsets of a lost partition refused")                                        \
  X(OFFSETS_UNCOMMITTED, "commit of offsets failed")                                               \
  X(REBALANCED, "partitions revoked")                                                              \
  X(REBALANCED_BATCH, "partitions revoked during a batch")                                         \
  X(PARTITIONS_LOST, "partitions lost unnoticed")                                                  \
  X(ZOMBIE_APPLIED, "consumer applied a batch of lost partitions")                                 \
  X(OFFSETS_DELETED, "group deleted")                                                              \
  X(OFFSETS_REWOUND, "offsets set back")                                                           \
  X(CLAIMED, "retrier claimed pending orders")                                                     \
  X(CLAIM_EXPIRED, "claim ran out under a retrier")                                                \
  X(ATTEMPT_FOUND, "attempt: found")                                                               \
  X(ATTEMPT_REACHED, "attempt: the stream has brought it")                                         \
  X(ATTEMPT_AGAIN, "attempt: again")                                                               \
  X(ATTEMPT_GIVEN_UP, "attempt: given up")                                                         \
  X(ATTEMPT_RELEASED, "attempt: released")                                                         \
  X(PENDING_STAYED, "pending order was asked for during its attempt and stayed")                   \
  X(RETRIER_CRASHED, "retrier crashed")                                                            \
  X(LETTER, "dead letter")                                                                         \
  X(LETTER_AGAIN, "dead letter came again")                                                        \
  X(LETTER_REPLAYED, "dead letter replayed")                                                       \
  X(RECORD_REPLAYED, "old record replayed")                                                        \
  X(POKED, "order poked")                                                                          \
  X(POKED_UNKNOWN, "order poked that is not there")                                                \
  X(GARBAGE, "garbage in a topic")                                                                 \
  X(RECONCILED, "order found behind by comparison")                                                \
  X(RESYNC, "resync of an order asked for")                                                        \
  X(DISPATCHED, "delivery dispatched")                                                             \
  X(COMPLETED, "delivery completed")                                                               \
  X(MOVE_REFUSED, "move refused")                                                                  \
  X(CANCELLED_FIRST, "cancel came first")                                                          \
  X(CANCELLED, "delivery cancelled")                                                               \
  X(RETURNING, "delivery returning")                                                               \
  X(APPLIED_AFTER_END, "event of a cancelled order came after its cancel")                         \
  X(SETTLED_HELD, "all came to rest beside a held transaction")                                    \
  X(SETTLED_CURSED, "all came to rest beside an order that cannot be sent")                        \
  X(SETTLED, "all came to rest")

#define SIMULATION_COVERAGE_NAME(name, words) COVER_##name,
typedef enum coverage { SIMULATION_COVERAGE(SIMULATION_COVERAGE_NAME) COVERAGE_COUNT } coverage;
#undef SIMULATION_COVERAGE_NAME

/* In words. Static storage. */
const char *coverage_words(coverage what);

#endif
