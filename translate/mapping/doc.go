// Package mapping is the mapping language: it loads and checks mapping files,
// compiles them for a template, and shows a device's tree through the result.
//
// It reads trees (package tree) and speaks USP schemas (package dm); it does no
// I/O with CPE or controllers. Package translate asks it where a USP path lives
// on the CPE, and what its value is.
//
// # Files
//
// A file is YAML. Unknown keys are errors, told with file and line.
//
//	mapping: tr098-wifi              # unique name
//	root: InternetGatewayDevice.     # the CPE's root data model, or a list of roots
//	for: {manufacturer: …}           # optional: regular expressions over manufacturer, oui, product_class,
//	                                 # hardware_version, software_version; such a file goes before the others
//	identity: true                   # what Device:2 knows keeps its path (TR-181 CPE)
//	ages: {status: 1m}               # how old a cached value may be, by class (static, config, status, counter; 0: of any age)
//	classes: [{match: "Device.**.Stats.*", class: counter}]   # by USP path, "*" one name, "**" any number
//	objects:
//	  - target: Device.WiFi.SSID.{i}.
//	    source: LANDevice.{i}.WLANConfiguration.{i}.   # under root
//	    key: [BSSID]                 # rows keep their number by these values, wherever the CPE puts them;
//	                                 # or {derive: "band(…)"}: rows of one value are one row
//	    around: LANDevice.{i}.LANHostConfigManagement. # what the row around the target's rows stems from;
//	                                 # default: an object above the source
//	    when: {param: X, exists: true}                 # or is: […], not: […]
//	    create: no                   # or {parent_from: Interface, default_from: /Object.Parameter}: what names the
//	                                 # object that a new row is created in; default: as the CPE allows
//	    vendor: true                 # vendor parameters of the source come here; default: where most of it is shown
//	    same: {"Stats.": "Stats."}   # every parameter with this prefix has its namesake under that one
//	    alike: true                  # so has every object and table below
//	    params:
//	      SSID: SSID                 # one to one
//	      Status: {from: Status, enum: {Up: Up, "*": Unknown}}
//
// A source path may go up with "../" and begin at the root with "/". Beside enum
// (open: true passes other values through) there are not: true, mul and div,
// text: hex, base64: hex, datetime: true or local, item: n of a list, list: {}
// (enum by item), join: [A, B] into one list, const, derive with a named
// function, row and rows (paths of rows that stem from the same source object;
// of: names another, or one for each), ref (a CWMP path as value, or as what read
// makes; lookup: makes one of a row's key), and a decision table of inputs and rows.
// from may be a list: the first that the CPE has. access: readOnly forbids writing;
// what cannot be converted back is read-only by itself. Where several rows
// of the CPE are one row, any: VALUE reads the one that has this value.
//
// What the rest cannot say, CEL does: inputs with names, read over them, and write,
// one expression for each input that is set, over them and value. Of the inputs,
// "{i}" is the number of the CPE's row and "." its path. A condition can be an
// expression too. An object with each: {list: X, most: N} makes a row of each
// item of a list; item: each is that item. One with again: true shows the source's
// rows once more, where one row there is two here. examples stand beside a rule and
// are tried by Set.Test.
//
// # Profiles
//
// A file that begins with `profile: NAME` says how the CPE of a kind have to be
// asked, see Profile and docs/device-profiles.md.
//
// # What is added
//
// NumberOfEntries are counted and Alias is given where the standard has them and
// the CPE has not. Vendor objects and parameters go under the translated parent.
// Everything else is at Device.X_USPBRIDGE_CWMP.Raw. followed by its CWMP path.
package mapping
