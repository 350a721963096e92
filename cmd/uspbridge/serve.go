package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cwmp/fileserver"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
)

// The bounds of the listener for CPE. A CPE may think long inside a session:
// how long is the ACS's business.
const (
	cwmpHeaderTimeout = 10 * time.Second
	cwmpIdleTimeout   = 5 * time.Minute
	cwmpMaxHeader     = 16 << 10
	cwmpGrace         = 10 * time.Second // for open sessions at the end
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the bridge",
		Long: "Run the bridge until interrupted. Every key of the configuration file is also a flag (--cwmp.listen=:7547)\n" +
			"and an environment variable (USPBRIDGE_CWMP_LISTEN=:7547). Without configuration all defaults hold.",
		Args: takesNothing(),
	}
	file := cmd.Flags().String("config", a.env(envPrefix+"_CONFIG", ""), "configuration file (YAML)")
	demo := cmd.Flags().Bool("demo", false, "add a TR-098 and a TR-181 simulated CPE")
	renewKey := cmd.Flags().Bool("renew-key", false, "start although the key of the store is lost: what was encrypted with it is given up")
	if err := configFlags(cmd.Flags()); err != nil {
		panic(err) // two keys of one name: a mistake in config.go that every test finds
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		content, err := readConfigFile(*file)
		if err != nil {
			return err
		}
		cfg, unknown, err := loadConfig(configSource{File: *file, Content: content, Environ: a.environ, Flags: cmd.Flags()})
		if err != nil {
			return err
		}
		log := newLogger(a.stderr, cfg.Log)
		for _, name := range unknown {
			log.Warn("environment variable is no configuration key and is left out", "name", name)
		}
		return a.serve(cmd.Context(), cfg, log, serveOptions{demo: *demo, renewKey: *renewKey})
	}
	return cmd
}

func newLogger(w io.Writer, c LogConfig) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(c.Level)}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// serveOptions are the flags of serve that are no configuration keys.
type serveOptions struct{ demo, renewKey bool }

// serve runs a bridge until ctx ends or a part of it fails.
func (a *app) serve(ctx context.Context, cfg *Config, log *slog.Logger, o serveOptions) (err error) {
	if o.demo {
		if err := checkDemo(cfg.CWMP); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	b, err := newBridge(ctx, cfg, log, o.renewKey)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(explainListen(err), b.files.Close(), b.store.Close()) }()
	if err := b.listen(); err != nil {
		return err
	}
	log.Info("starting", "version", readBuildInfo().Version, "cwmp", b.cwmpListener.Addr().String(),
		"console", cfg.Console.Listen, "store", cfg.storePath(), "mappings", len(b.mappings.set.Names()))
	return b.run(ctx, func(front *group) {
		if o.demo {
			front.start("demo", func(ctx context.Context) error { return a.demo(ctx, b) })
		}
	})
}

// explainListen says what to do about an address that cannot be listened at. The
// error begins with the key that names it, or with the section of a transport.
func explainListen(err error) error {
	if err == nil {
		return nil
	}
	var op *net.OpError
	key, _, _ := strings.Cut(err.Error(), ":")
	if !strings.HasSuffix(key, "listen") {
		key += ".listen"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program has that address, perhaps another bridge, or another key of this one (`ss -lntup` shows which): "+
			"end it, or give this one another, in the file or with --%s", err, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; no interface of this machine has that address (`ip address` shows those there are): set another, or none, as in :7547, for all", err)
	case errors.Is(err, syscall.EACCES) && errors.As(err, &op) && op.Net != "unix":
		return fmt.Errorf("%w; ports below 1024 need root or CAP_NET_BIND_SERVICE: set another in the file or with --%s", err, key)
	}
	return err
}

// listen opens the listeners that are opened here, so that an address in use
// stops the start.
func (b *bridge) listen() (err error) {
	if b.cwmpListener, err = net.Listen("tcp", b.cfg.CWMP.Listen); err != nil {
		return fmt.Errorf("cwmp.listen: %w", err)
	}
	if err := b.ways.listen(b.cfg.CWMP); err != nil {
		return errors.Join(err, b.cwmpListener.Close())
	}
	if err := b.broker.listen(b.cfg.USP.Broker); err != nil {
		return errors.Join(err, b.cwmpListener.Close(), b.ways.close())
	}
	if b.cfg.Console.Listen == "" {
		return nil
	}
	if b.consoleListener, err = net.Listen("tcp", b.cfg.Console.Listen); err != nil {
		return errors.Join(fmt.Errorf("console.listen: %w", err), b.cwmpListener.Close(), b.ways.close(), b.broker.close())
	}
	return nil
}

// run runs all parts. They end in order: first CPE get no new sessions and those
// open may finish, while controllers still get their answers; then the doors
// close; then what is behind them. The store is closed by the caller, last.
func (b *bridge) run(ctx context.Context, more func(front *group)) error {
	back := newGroup(context.WithoutCancel(ctx))
	defer back.stop()
	b.broker.start(back)
	back.start("agents", b.agents.Run)
	back.start("mappings", b.mappings.run)
	back.start("relay", b.relay.Run)
	back.start("devices", func(ctx context.Context) error { b.joint.Run(ctx); return nil })

	front := newGroup(context.WithoutCancel(ctx))
	defer front.stop()
	for _, t := range b.transports {
		front.start(t.section, func(ctx context.Context) error { return t.Serve(ctx, b.records) })
	}
	if b.console != nil {
		front.start("console", func(ctx context.Context) error { return b.console.Serve(ctx, b.consoleListener) })
	}
	front.start("cwmp", b.serveCWMP)
	b.ways.start(front)
	more(front)

	var cause error
	select {
	case <-ctx.Done():
		b.log.Info("ending: open sessions may finish", "sessions", b.acs.Sessions())
	case <-front.ctx.Done():
		cause = context.Cause(front.ctx)
	case <-back.ctx.Done():
		cause = context.Cause(back.ctx)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cwmpGrace)
	defer cancel()
	if err := b.acs.Close(grace); err != nil {
		b.log.Warn("sessions were broken off; their CPE will come again", "error", err)
	}
	return cause
}

// cwmpHandler is what CPE reach: files below one path, the ACS at any other.
func (b *bridge) cwmpHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, fileserver.Prefix) {
			b.files.ServeHTTP(w, r)
		} else {
			b.acs.ServeHTTP(w, r)
		}
	})
}

// serveCWMP answers CPE until ctx ends.
func (b *bridge) serveCWMP(ctx context.Context) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // TR-069 3.4.1; the time bounds of bodies do not hold in HTTP/2
	srv := &http.Server{
		Handler: b.cwmpHandler(), ConnContext: b.connContext, Protocols: &protocols,
		ReadHeaderTimeout: cwmpHeaderTimeout, IdleTimeout: cwmpIdleTimeout, MaxHeaderBytes: cwmpMaxHeader,
		ErrorLog: slog.NewLogLogger(b.log.Handler(), slog.LevelDebug),
	}
	if b.cwmpTLS != nil {
		srv.TLSConfig, srv.ErrorLog = b.cwmpTLS.TLS(), b.cwmpTLS.ErrorLog()
	}
	ended, listener := make(chan error, 1), b.acs.Limit(b.cwmpListener)
	go func() {
		if b.cwmpTLS != nil {
			ended <- srv.ServeTLS(listener, "", "")
		} else {
			ended <- srv.Serve(listener)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// No session is open any more: what is left are idle connections.
	err := srv.Close()
	<-ended
	return err
}

// onThisMachine turns an address that is listened on into one to connect to from
// here.
func onThisMachine(listen net.Addr) string {
	host, port, err := net.SplitHostPort(listen.String())
	if err != nil {
		return listen.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// consoleURL is where the console answers, "" if it is turned off.
func (b *bridge) consoleURL() string {
	if b.consoleListener == nil {
		return ""
	}
	return "http://" + onThisMachine(b.consoleListener.Addr())
}

// webSocketURL is where controllers connect, "" if the server is turned off or
// does not listen yet.
func (b *bridge) webSocketURL() string {
	for _, t := range b.transports {
		s, ok := t.Transport.(*websocket.Server)
		if !ok || s.Addr() == nil {
			continue
		}
		scheme := "ws://"
		if b.cfg.USP.MTP.WebSocket.TLS.Cert != "" {
			scheme = "wss://"
		}
		return scheme + onThisMachine(s.Addr()) + b.cfg.USP.MTP.WebSocket.Path
	}
	return ""
}
