package agent

import (
	"crypto/x509"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
)

// BulkConfig bounds bulk data collection. Zero fields get defaults.
type BulkConfig struct {
	Policy bulk.Policy
	Roots  *x509.CertPool // of collectors' certificates; nil: the system's

	MinInterval time.Duration // the shortest ReportingInterval, whole seconds (default 1 min)
	Uploads     int           // reports made or sent at once (default 256)
	Report      int           // bytes of an encoded report, those retained with it included (default 4 MiB)
}

func (c *BulkConfig) setDefaults() {
	if c.MinInterval <= 0 {
		c.MinInterval = time.Minute
	}
	c.MinInterval = max(c.MinInterval.Truncate(time.Second), time.Second)
	if c.Uploads <= 0 {
		c.Uploads = 256
	}
	if c.Report <= 0 {
		c.Report = 4 << 20
	}
}

// reportJob is a report to be made and sent. With again it is one that was not
// delivered.
type reportJob struct {
	agent   usp.EndpointID
	profile uint32
	again   bool
}

// profileOf names the profile of a job, of which one report is made at a time.
type profileOf struct {
	agent   usp.EndpointID
	profile uint32
}

// maxQueuedReports bounds the reports that wait for a worker; what is due beyond
// them waits in the due index.
const maxQueuedReports = 1 << 16

// reportQueue makes reports, so many at once. Its workers are there while there
// is something to do.
type reportQueue struct {
	client *bulk.Client

	mu      sync.Mutex
	queue   []reportJob
	known   map[profileOf]struct{} // waiting or in work
	workers int
}

func newReportQueue(cfg Config) *reportQueue {
	return &reportQueue{
		client: bulk.NewClient(bulk.ClientConfig{Policy: cfg.Bulk.Policy, Roots: cfg.Bulk.Roots, Agent: "uspbridge", Now: cfg.Now,
			// A slow collector leaves room for others.
			Most: max(1, cfg.Bulk.Uploads*3/4)}),
		known: map[profileOf]struct{}{},
	}
}

// enqueue adds a job. It returns false if there is no room, or if a report of
// the profile is in work already.
func (q *reportQueue) enqueue(h *Host, job reportJob) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := profileOf{job.agent, job.profile}
	if _, twice := q.known[of]; twice || len(q.queue) >= maxQueuedReports || h.ctx.Err() != nil {
		return false
	}
	q.known[of] = struct{}{}
	q.queue = append(q.queue, job)
	if q.workers < h.cfg.Bulk.Uploads {
		q.workers++
		h.background.Add(1)
		go q.work(h)
	}
	return true
}

// work makes reports until there are none left.
func (q *reportQueue) work(h *Host) {
	defer h.background.Done()
	for {
		job, ok := q.take(h)
		if !ok {
			return
		}
		h.report(job)
		q.done(job)
	}
}

// take returns the next job. Without one the worker is no longer counted.
func (q *reportQueue) take(h *Host) (reportJob, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 || h.ctx.Err() != nil {
		q.queue = nil
		q.workers--
		return reportJob{}, false
	}
	job := q.queue[0]
	q.queue = q.queue[1:]
	return job, true
}

func (q *reportQueue) done(job reportJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.known, profileOf{job.agent, job.profile})
}
