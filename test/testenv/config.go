package testenv

import (
	"crypto/tls"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/usp"
)

// DefaultController is the controller that every agent of an environment knows.
// It connects to the WebSocket server.
const DefaultController = usp.EndpointID("proto::controller-1")

// Config says how an environment's bridge differs from one of which only the
// listeners and the data directory are configured.
type Config struct {
	// Keys are configuration keys by their full name ("cwmp.deadline").
	Keys map[string]any
	// Token is the console's, where Keys set one.
	Token string
	// TLS is what the CPE connect with to a bridge that speaks TLS; nil for one that
	// does not.
	TLS *tls.Config
	// Controllers are rows of the Controller table besides DefaultController.
	Controllers []ControllerRow
	// CPETLS is what simulated CPE trust elsewhere, where the bridge speaks no TLS; nil
	// is the system's.
	CPETLS *tls.Config
}

// ControllerRow is a row of the Controller table that every agent starts with.
type ControllerRow struct {
	EndpointID usp.EndpointID
	Role       string            // "": Full Access
	MTP        map[string]string // keys of usp.controllers.mtp; nil for one that connects to the WebSocket server
	Session    map[string]string // keys of usp.controllers.session
}

// addresses are where a bridge listens.
type addresses struct{ cwmp, websocket, console string }

func freeAddresses(t testing.TB) addresses {
	t.Helper()
	return addresses{FreeAddress(t), FreeAddress(t), FreeAddress(t)}
}

// write writes the configuration file into dir.
func (c Config) write(t testing.TB, dir string, at addresses) string {
	t.Helper()
	keys := map[string]any{
		"data_dir": filepath.Join(dir, "data"), "log.level": "debug",
		"cwmp.listen": at.cwmp, "usp.mtp.websocket.listen": at.websocket, "console.listen": at.console,
		"cwmp.files.allow": []string{"127.0.0.1"}, // the servers of images that tests make
	}
	maps.Copy(keys, c.Keys)
	root := map[string]any{}
	for key, value := range keys {
		put(root, strings.Split(key, "."), value)
	}
	var rows []any
	for _, r := range append([]ControllerRow{{EndpointID: DefaultController}}, c.Controllers...) {
		row := map[string]any{"endpoint_id": string(r.EndpointID), "role": "Full Access"}
		if r.Role != "" {
			row["role"] = r.Role
		}
		if r.MTP != nil {
			row["mtp"] = r.MTP
		}
		if r.Session != nil {
			row["session"] = r.Session
		}
		rows = append(rows, row)
	}
	put(root, []string{"usp", "controllers"}, rows)
	text, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "uspbridge.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func put(in map[string]any, key []string, value any) {
	if len(key) == 1 {
		in[key[0]] = value
		return
	}
	section, ok := in[key[0]].(map[string]any)
	if !ok {
		section = map[string]any{}
		in[key[0]] = section
	}
	put(section, key[1:], value)
}
