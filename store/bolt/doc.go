// Package bolt is the embedded driver of package store: one bbolt file, for one
// node. It knows records, not what they mean.
//
// One goroutine writes. While it syncs one transaction to disk, the batches of
// all callers collect; the next transaction takes them all, so that under load
// many share one sync, and an idle store adds no delay. A batch whose checks
// fail is left out of its transaction and disturbs no other.
//
// On disk each kind is a bucket, named by the kind's number; a record's key in it
// is owner, a zero byte, name. The record {Meta, "schema", "version"} holds the
// version of this layout; Open brings older files up to date step by step.
package bolt
