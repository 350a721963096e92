package bolt

import (
	"fmt"
	"log/slog"
	"strconv"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/uspbridge/uspbridge/store"
)

// The schema version's record is {Meta, schemaOwner, schemaName}; its value is a
// decimal number.
const (
	schemaOwner = "schema"
	schemaName  = "version"
)

// migration brings a file from one schema version to the next, inside the
// transaction that also records the new version. It must not look at the
// program's present types, which change: what it needs of the old layout it says
// itself.
type migration struct {
	name string
	run  func(tx *bbolt.Tx) error
}

// migrations has at index v the step from version v to v+1. Steps are only ever
// added at the end.
var migrations = []migration{
	{name: "first layout", run: func(*bbolt.Tx) error { return nil }}, // buckets are made by ensureBuckets
}

// migrate brings the file to the version of len(steps), one transaction a step,
// so that a crash leaves it at a version in between.
func migrate(db *bbolt.DB, steps []migration, log *slog.Logger) error {
	version, err := schemaVersion(db)
	if err != nil {
		return err
	}
	if version > len(steps) {
		return fmt.Errorf("%w: it has schema version %d, this program knows up to %d; start the newer program, or restore a backup", ErrNewerSchema, version, len(steps))
	}
	if version == len(steps) && bucketsComplete(db) {
		return nil // nothing to write: opening an up-to-date file changes nothing
	}
	for ; version < len(steps); version++ {
		step := steps[version]
		err := db.Update(func(tx *bbolt.Tx) error {
			if err := ensureBuckets(tx); err != nil {
				return err
			}
			if err := step.run(tx); err != nil {
				return err
			}
			key := appendKey(nil, schemaOwner, schemaName)
			return tx.Bucket(bucketName(store.Meta)).Put(key, strconv.AppendInt(nil, int64(version+1), 10))
		})
		if err != nil {
			return fmt.Errorf("migration %d (%s): %w", version+1, step.name, err)
		}
		if version > 0 {
			log.Info("store migrated", "file", db.Path(), "version", version+1, "step", step.name)
		}
	}
	return db.Update(ensureBuckets)
}

// schemaVersion reads the version of a file, 0 for an empty one.
func schemaVersion(db *bbolt.DB) (version int, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketName(store.Meta))
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return fmt.Errorf("%w: it has buckets of another program, %q", ErrDamaged, name)
			}
			return nil
		}
		text := string(meta.Get(appendKey(nil, schemaOwner, schemaName)))
		if version, err = strconv.Atoi(text); err != nil || version < 1 {
			return fmt.Errorf("%w: its schema version is %q", ErrDamaged, text)
		}
		return nil
	})
	return version, err
}

// ensureBuckets makes the buckets that are missing. A kind that is new needs no
// migration of its own.
func ensureBuckets(tx *bbolt.Tx) error {
	for k := store.Kind(1); k < store.Kinds; k++ {
		if _, err := tx.CreateBucketIfNotExists(bucketName(k)); err != nil {
			return fmt.Errorf("bucket of kind %d: %w", k, err)
		}
	}
	return nil
}

func bucketsComplete(db *bbolt.DB) bool {
	err := db.View(func(tx *bbolt.Tx) error {
		for k := store.Kind(1); k < store.Kinds; k++ {
			if tx.Bucket(bucketName(k)) == nil {
				return bolterrors.ErrBucketNotFound
			}
		}
		return nil
	})
	return err == nil
}
