package translate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// progress is how far a discovery has come, kept so that the next session goes
// on from there.
type progress struct {
	Of      string // firmware
	Started time.Time
	Root    cwmp.Path
	Way     mapping.Way
	Walk    *walk                `json:",omitempty"` // the names are not complete
	Names   []cwmp.ParameterInfo `json:",omitempty"`
	Values  []cwmp.ParameterValue
	Absent  []cwmp.Path `json:",omitempty"`
}

const (
	// maxProgressAge is how long an unfinished discovery can be gone on with: a
	// CPE that informs once a day gets a second chance.
	maxProgressAge = 48 * time.Hour
	// maxProgress bounds it in the store, in bytes. Real trees take a tenth.
	maxProgress = 16 << 20
)

// progressKey is beside the tree that it is to become.
func progressKey(key cwmp.DeviceKey) store.Key {
	return store.Key{Kind: store.Tree, Owner: string(key), Name: "discovery"}
}

// resume returns the discovery that p stands for; a new one if p is nil.
func (p *progress) resume(plan plan) *discovery {
	most := plan.max
	if most <= 0 {
		most = defaultMaxNames
	}
	d := &discovery{started: plan.now, reading: &reading{given: most, max: most}}
	if p == nil {
		return d
	}
	d.started, d.root, d.way, d.walk, d.names = p.Started, p.Root, p.Way, p.Walk, p.Names
	d.values, d.absent = p.Values, p.Absent
	return d
}

// size is how much has been found.
func (p *progress) size() int {
	if p == nil {
		return 0
	}
	n := len(p.Names) + len(p.Values) + len(p.Absent)
	if p.Walk != nil {
		n += len(p.Walk.Names)
	}
	return n
}

// progress returns what is worth keeping of a discovery that has not ended; nil
// if nothing is.
func (d *discovery) progress(of string) *progress {
	p := &progress{Of: of, Started: d.started, Root: d.root, Way: d.way, Walk: d.walk, Names: d.names, Values: d.values, Absent: d.absent}
	if p.Way == "" || p.size() == 0 {
		return nil
	}
	return p
}

// loadProgress returns how far the device's discovery had come; nil if it is to
// begin anew.
func (b *Bridge) loadProgress(ctx context.Context, rec *Record) (*progress, error) {
	if !rec.DiscoveryPartial {
		return nil, nil
	}
	text, err := b.store.Get(ctx, progressKey(rec.Key()))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("unfinished discovery: %w", err)
	}
	p := new(progress)
	if err := json.Unmarshal(text, p); err != nil {
		b.log.Error("an unfinished discovery cannot be read and begins anew", "device", rec.Key(), "error", err)
		return nil, nil
	}
	if p.Of != firmware(rec) || b.now().Sub(p.Started) > maxProgressAge || p.Started.Before(rec.LastBootstrap) {
		return nil, nil
	}
	return p, nil
}

// planDiscovery says how a device is discovered, by its profile, what was learnt
// of it, and how far the last attempt came.
func (b *Bridge) planDiscovery(ctx context.Context, dev *device) (plan, error) {
	rec := dev.state.Load().rec
	from, err := b.loadProgress(ctx, rec)
	if err != nil {
		return plan{}, err
	}
	profile := b.profile(rec)
	p := plan{root: rec.Root, second: rec.SecondRoot, objects: profile.PartialPaths, max: lessOf(rec.MaxNames, profile.MaxNames),
		suspect: rec.Suspects, from: from, now: b.now(), ways: slices.Clone(profile.Discovery)}
	if len(p.ways) == 0 {
		p.ways = mapping.Ways()
	}
	first := rec.Way
	if from != nil && from.Walk != nil {
		first = from.Way
	}
	rank := func(w mapping.Way) int {
		_, failed := rec.NoWay[w]
		switch {
		case w == first:
			return 0
		case failed:
			return 3
		case rec.NoTree && w != mapping.WayBranches && w != mapping.WayLevels:
			return 2 // the same again in other words
		}
		return 1
	}
	slices.SortStableFunc(p.ways, func(a, b mapping.Way) int { return rank(a) - rank(b) })
	return p, nil
}

// The pauses between attempts to discover a CPE that come to nothing: the first
// few follow at once, since each is made in another way.
const (
	freeFailures = 2
	firstPause   = 5 * time.Minute
	longestPause = 6 * time.Hour
)

// pauseAfter is how long a CPE is left alone after so many failures.
func pauseAfter(failures int) time.Duration {
	if failures <= freeFailures {
		return 0
	}
	pause := firstPause << min(failures-freeFailures-1, 16)
	return min(pause, longestPause)
}

// interrupted keeps how far a discovery came and what it taught. It returns when
// that is durable: the next session reads it from the store.
func (b *Bridge) interrupted(dev *device, p plan, d *discovery, cause error) {
	text := b.encodeProgress(dev, d)
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	rec.DiscoveryError = reason(cause.Error())
	rec.DiscoveryFailures++
	if d.progress("").size() > p.from.size() {
		rec.DiscoveryFailures = 1
	}
	rec.DiscoveryNext = b.now().Add(pauseAfter(rec.DiscoveryFailures))
	d.teach(&rec.Learnt, b.now())
	var batch store.Batch
	switch {
	case text != nil:
		batch.Put(progressKey(dev.key), text)
	case rec.DiscoveryPartial:
		batch.Delete(progressKey(dev.key))
	}
	rec.DiscoveryPartial = text != nil
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	if rec.DiscoveryFailures > freeFailures {
		b.log.Warn("the CPE cannot be discovered and is left alone for now", "device", dev.key,
			"failures", rec.DiscoveryFailures, "until", rec.DiscoveryNext.Format(time.RFC3339), "error", cause)
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Deadline) // the session's has ended
	defer cancel()
	if err := durable(ctx); err != nil {
		b.log.Error("an unfinished discovery is not kept and begins anew", "device", dev.key, "error", err)
	}
}

// encodeProgress returns what the store keeps of an unfinished discovery, nil if
// nothing.
func (b *Bridge) encodeProgress(dev *device, d *discovery) []byte {
	kept := d.progress(firmware(dev.state.Load().rec))
	if kept == nil {
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil || len(text) > maxProgress {
		b.log.Error("an unfinished discovery cannot be kept", "device", dev.key, "bytes", len(text), "error", err)
		return nil
	}
	return text
}

// teach keeps what a discovery has shown of the CPE.
func (d *discovery) teach(l *Learnt, now time.Time) {
	if limit := d.learnt(); limit != 0 && lessOf(l.MaxNames, limit) != l.MaxNames {
		l.MaxNames, l.Limited = limit, now
	}
	if len(d.noWay) > 0 {
		failed := maps.Clone(l.NoWay)
		if failed == nil {
			failed = make(map[mapping.Way]string)
		}
		maps.Copy(failed, d.noWay)
		l.NoWay = failed
	}
	l.NoTree = l.NoTree || d.noTree
	if d.avoid != "" && len(l.Avoided) < maxAvoided {
		l.Avoided = append(slices.Clip(l.Avoided), owned([]cwmp.Path{d.avoid})...)
	}
	if d.way != "" && d.walk == nil {
		l.Way = d.way
		l.NoWay = maps.Clone(l.NoWay)
		delete(l.NoWay, d.way)
	}
}
