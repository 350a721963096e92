package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/capture"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/cwmp/credential"
	"github.com/uspbridge/uspbridge/cwmp/fileserver"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/relay"
)

// bridge is all parts of a bridge, wired together but not running.
type bridge struct {
	cfg        *Config
	log        *slog.Logger
	store      store.Store
	sealer     store.Sealer
	keyring    *credential.Keyring
	mappings   *mappingFolder
	broker     *embedded // nil: turned off
	transports []transport
	joint      *translate.Bridge
	agents     *agent.Host
	identity   *identity
	relay      *relay.Relay
	records    mtp.Handler // what transports give records to: the bound of each sender, in front of the relay
	acs        *acs.Server
	ways       ways
	files      *fileserver.Server
	console    *console.Server // nil: turned off
	fleet      fleet

	cwmpTLS         *servertls.Server // nil: plain text
	cwmpListener    net.Listener
	consoleListener net.Listener
	connContext     func(context.Context, net.Conn) context.Context
}

// newBridge builds the parts from the store up. If it fails nothing is left
// open.
func newBridge(ctx context.Context, cfg *Config, log *slog.Logger, renewKey bool) (b *bridge, err error) {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b = &bridge{cfg: cfg, log: log, identity: new(identity), connContext: acs.ConnContext}
	if b.mappings, err = newMappingFolder(cfg.Mappings.Dir, log, metrics); err != nil {
		return nil, err
	}
	tlsMetrics, err := servertls.NewMetrics(metrics)
	if err != nil {
		return nil, err
	}
	if b.cwmpTLS, err = cfg.CWMP.TLS.server("cwmp", log, tlsMetrics); err != nil {
		return nil, err
	}
	if b.broker, err = newEmbedded(cfg, log, metrics, tlsMetrics); err != nil {
		return nil, err
	}
	ids := new(clientIDs)
	if b.transports, err = newTransports(cfg, b.identity, ids, b.broker, log, metrics, tlsMetrics); err != nil {
		return nil, err
	}
	st, err := bolt.Open(bolt.Config{Path: cfg.storePath(), Log: log, Metrics: metrics})
	if err != nil {
		return nil, fmt.Errorf("%w; choose another file with store.path or data_dir if it is not this bridge's", err)
	}
	box, err := openSealer(ctx, cfg, st, log, renewKey)
	if err == nil {
		b.sealer, b.store = box, seal.Store(st, box, log, sealedKinds...)
		b.broker.open(b.store)
		ids.store = b.store
		err = b.openKeyring(ctx)
	}
	if err == nil {
		err = b.openTrust(tlsMetrics, metrics)
	}
	if err == nil {
		err = b.wire(ctx, metrics)
	}
	if err != nil {
		if b.files != nil {
			err = errors.Join(err, b.files.Close())
		}
		return nil, errors.Join(err, st.Close())
	}
	return b, nil
}

// sealedKinds are the records that may have a secret anywhere in them: values of
// parameters, passwords for brokers, arguments of operations. In the others there is
// none, or it is sealed by those who write them (devices, credentials); so what a
// device is, its numbers and its subscriptions outlive a lost key.
var sealedKinds = []store.Kind{store.Tree, store.Controller, store.Request, store.Notification, store.AgentState, store.Certificate, store.Held}

// openSealer returns what the store's secrets are sealed with.
func openSealer(ctx context.Context, cfg *Config, st store.Store, log *slog.Logger, renew bool) (*seal.Box, error) {
	box, err := seal.Open(ctx, seal.Config{File: cfg.keyFile(), Store: st, Renew: renew, Log: log})
	if errors.Is(err, seal.ErrKeyMissing) || errors.Is(err, seal.ErrWrongKey) {
		return nil, fmt.Errorf("store.key_file: %w; bring the right key back from a backup or from another node; if it is lost, "+
			"start once with --renew-key: what was encrypted with it is given up, credentials of CPE must be given again", err)
	} else if err != nil {
		return nil, fmt.Errorf("store.key_file: %w", err)
	}
	return box, nil
}

// wire joins the two sides over the store.
func (b *bridge) wire(ctx context.Context, metrics *prometheus.Registry) (err error) {
	cfg := b.cfg
	template, err := translate.ParseEndpointTemplate(cfg.USP.EndpointID)
	if err != nil {
		return fmt.Errorf("usp.endpoint_id: %w", err)
	}
	if b.joint, err = b.newJoint(ctx, template, metrics); err != nil {
		return err
	}
	b.mappings.use = b.joint.Remap
	if b.ways, err = newWays(cfg.CWMP, b.joint, b.keyring, b.log, metrics); err != nil {
		return err
	}
	b.agents, err = b.newAgents(metrics)
	if err != nil {
		return err
	}
	b.identity.attach(b.agents, claims{b.joint})
	auth, err := b.authenticator()
	if err != nil {
		return err
	}
	captures := new(capture.Hub)
	server := acs.Config{Fleet: b.joint, Log: b.log, Auth: auth, Tap: captures, ContactTimeout: time.Duration(cfg.CWMP.Deadline), Metrics: metrics}
	limits, err := cfg.CWMP.Limits.fitting()
	if err != nil {
		b.log.Warn(err.Error())
	}
	limits.apply(&server)
	b.acs, err = acs.New(server)
	if err != nil {
		return err
	}
	if err := b.openFiles(metrics); err != nil {
		return err
	}
	hosting := newHosting(b.agents, b.transports)
	b.joint.Attach(b.acs, hosting)
	if err := hosting.known(ctx, b.joint); err != nil {
		return err
	}
	if b.relay, err = b.newRelay(metrics); err != nil {
		return err
	}
	if b.records, err = cfg.USP.Limits.bound(b.relay, b.log, metrics); err != nil {
		return err
	}
	b.fleet = fleet{b.joint, b.relay, b.acs, b.store, captures, template}
	if cfg.Console.Listen == "" {
		return nil
	}
	b.console, err = console.New(console.Config{
		Token: string(cfg.Console.Token), Fleet: b.fleet, Credentials: keyring{b.keyring}, Certificates: certificates{b}, Mappings: b.mappings,
		BrokerUsers: b.broker.users(b.joint.Hosts), Ready: b.ready, Gatherer: metrics, Log: b.log,
	})
	return err
}

// newJoint makes the joint of the two sides.
func (b *bridge) newJoint(ctx context.Context, template translate.EndpointTemplate, metrics *prometheus.Registry) (*translate.Bridge, error) {
	cfg := b.cfg
	return translate.New(ctx, translate.Config{
		Store: b.store, Sealer: b.sealer, Mappings: b.mappings.set, Endpoint: template,
		InformInterval: time.Duration(cfg.CWMP.InformInterval), Deadline: time.Duration(cfg.CWMP.Deadline),
		ConnectionRequest: translate.ConnectionRequest{
			Client:  connreq.New(connreq.Config{MaxConcurrent: int(cfg.CWMP.ConnectionRequest.MaxConcurrent)}),
			Timeout: time.Duration(cfg.CWMP.ConnectionRequest.Timeout), Settings: wakeSettings(cfg.CWMP),
			Username: cfg.CWMP.ConnectionRequest.Username, Password: string(cfg.CWMP.ConnectionRequest.Password),
			LeaveCredentials: !bool(cfg.CWMP.ConnectionRequest.Provision),
		},
		Files:       translate.FileConfig{URL: cfg.CWMP.Files.URL, Life: time.Duration(cfg.CWMP.Files.TokenLife)},
		Polling:     translate.Polling{Interval: time.Duration(cfg.CWMP.Poll.Interval), Rate: int(cfg.CWMP.Poll.Rate)},
		Discoveries: int(cfg.CWMP.Limits.Discoveries), Devices: int(cfg.CWMP.Limits.Devices), Log: b.log, Registerer: metrics,
	})
}

// openFiles makes the file server for CPE.
func (b *bridge) openFiles(metrics *prometheus.Registry) (err error) {
	c := b.cfg.CWMP.Files
	policy, err := bulk.NewPolicy(c.Allow)
	if err != nil {
		return fmt.Errorf("cwmp.files.allow: %w", err)
	}
	b.files, err = fileserver.New(fileserver.Config{
		Dir: b.cfg.filesDir(), Grants: b.joint, MaxUpload: int64(c.MaxUpload), MaxImage: int64(c.MaxImage), MaxImages: int64(c.MaxImages),
		Servers: policy, Log: b.log, Metrics: metrics,
	})
	if err != nil {
		return fmt.Errorf("cwmp.files.dir: %w", err)
	}
	b.joint.AttachFiles(b.files)
	return nil
}

// newAgents makes the agents of all devices.
func (b *bridge) newAgents(metrics *prometheus.Registry) (*agent.Host, error) {
	reports, err := b.cfg.USP.BulkData.settings()
	if err != nil {
		return nil, err
	}
	roles, challenges := b.cfg.USP.agentRoles()
	return agent.New(agent.Config{
		Store: b.store, Devices: b.joint, Transports: b.mtps(), Controllers: b.controllers(), Roles: roles, Challenges: challenges, Sealer: b.sealer,
		Deadline: time.Duration(b.cfg.CWMP.Deadline), AgentAddress: b.agentAddress, Brokers: b.cfg.USP.MTP.brokers(), Known: b.hostedAgents, Bulk: reports,
		Identity: b.identity.trust, Senders: b.cfg.USP.senders(), FirstUse: bool(b.cfg.USP.Trust.FirstUse), Log: b.log, Registerer: metrics,
		Sessions: b.cfg.USP.Sessions.settings(),
	})
}

func (b *bridge) mtps() []mtp.Transport {
	var all []mtp.Transport
	for _, t := range b.transports {
		all = append(all, t.Transport)
	}
	return all
}

// controllers returns the Controller table that every agent starts with.
func (b *bridge) controllers() []agent.ControllerConfig {
	var table []agent.ControllerConfig
	for _, c := range b.cfg.USP.Controllers {
		table = append(table, agent.ControllerConfig{EndpointID: c.endpoint(), Role: c.Role, Session: c.Session.policy(), MTP: c.MTP.address()})
	}
	return table
}

// agentAddress returns where an agent is written to on a transport.
func (b *bridge) agentAddress(protocol mtp.Protocol, id usp.EndpointID) mtp.Address {
	for _, t := range b.transports {
		if a, ok := t.Transport.(mtp.Addressing); ok && t.Protocol() == protocol {
			return a.AgentAddress(id)
		}
	}
	return mtp.Address{Protocol: protocol}
}

// hostedAgents returns the agents of the devices that the store has.
func (b *bridge) hostedAgents(ctx context.Context) (ids []usp.EndpointID, err error) {
	err = b.joint.List(ctx, "", "", func(r *translate.Record) bool {
		ids = append(ids, r.Endpoint)
		return true
	})
	return ids, err
}

// ready says what /readyz tells: whether the bridge can do its work now.
func (b *bridge) ready() []console.Check {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	checks := []console.Check{
		checkStore(ctx, b.store),
		b.mappings.check(),
		{Name: "cwmp", OK: true, Detail: b.cwmpListener.Addr().String()},
	}
	for _, t := range b.transports {
		s := t.Status()
		c := console.Check{Name: t.section, OK: s.Up}
		if !s.Up {
			c.Detail = s.LastError
		}
		checks = append(checks, c)
	}
	return checks
}

// checkStore says whether the store takes changes: from a full disk it still reads.
func checkStore(ctx context.Context, s store.Store) console.Check {
	var asked store.Batch
	asked.Put(store.Key{Kind: store.Meta, Owner: "ready"}, []byte(time.Now().UTC().Format(time.RFC3339)))
	if err := s.Commit(ctx, &asked); err != nil {
		return console.Check{Name: "store", Detail: err.Error()}
	}
	return console.Check{Name: "store", OK: true}
}
