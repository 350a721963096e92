package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/credential"
)

// cpeUser is one entry of the file that cwmp.auth.users names:
//
//	acs-user:
//	  password: s3cret
//	  devices: [00259E-HG8245A-SERIAL]   # optional: only these may use it
//
// A device is written as `uspbridge device show` shows OUI, product class and
// serial number, joined by dashes.
type cpeUser struct {
	Password Secret   `yaml:"password"`
	Devices  []string `yaml:"devices"`
}

// readCPEUsers reads the users that CPE may authenticate as.
func readCPEUsers(file string) (map[string]cpeUser, error) {
	users, err := readUsers[cpeUser](file, `acs-user: {password: s3cret}`)
	if err != nil {
		return nil, err
	}
	for name, u := range users {
		if name == "" || u.Password == "" {
			return nil, fmt.Errorf("%s: user %q: name and password must not be empty", file, name)
		}
	}
	return users, nil
}

// keyringUsers gives the users the form in which they are looked up.
func keyringUsers(users map[string]cpeUser) map[string]credential.User {
	all := make(map[string]credential.User, len(users))
	for name, u := range users {
		one := credential.User{Password: string(u.Password)}
		if len(u.Devices) > 0 {
			one.Allows = func(id cwmp.DeviceID) bool {
				return slices.Contains(u.Devices, id.OUI+"-"+id.ProductClass+"-"+id.SerialNumber)
			}
		}
		all[name] = one
	}
	return all
}

// ofGo matches what an error of the YAML decoder says of our types.
var ofGo = regexp.MustCompile(` in(to| type) (map\[string\])?main\.\w+`)

// readUsers reads a file of users by their names, of which there is one at least.
func readUsers[T any](file, example string) (map[string]T, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	users := map[string]T{}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&users); err != nil && !errors.Is(err, io.EOF) {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
		text = ofGo.ReplaceAllString(strings.ReplaceAll(text, "\n  ", ", "), "")
		return nil, fmt.Errorf("%s: %s; write for example `%s`", file, text, example)
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("%s: no user in it; write for example `%s`", file, example)
	}
	return users, nil
}
