import { MillraceError, nearest, type Column } from "../../core/index.ts";
import { hexOf, isKeyword, keywordOf, keywords, representationOf, tagOf } from "../../formats/dicom/dictionary.ts";

/** One match of QIDO-RS: attributes by tag, as the DICOM JSON model has them (PS3.18, annex F). */
export type Match = { [tag: string]: unknown };

export type Level = "studies" | "series" | "instances";

/** An attribute by which something is asked for or shown. */
export interface Attribute {
  /** Keyword, or eight hexadecimal digits of an element that the dictionary does not know. */
  name: string;
  tag: string;
  vr: string;
}

/** The attribute of a keyword or tag. Throws `config`. */
export function attributeOf(name: string, option: string): Attribute {
  if (/^[0-9a-f]{8}$/i.test(name)) {
    const tag = Number.parseInt(name, 16);
    return { name: keywordOf(tag) ?? hexOf(tag), tag: hexOf(tag), vr: representationOf(tag) };
  }
  if (isKeyword(name)) {
    const tag = tagOf(name);
    return { name, tag: hexOf(tag), vr: representationOf(tag) };
  }
  const match = nearest(name, keywords());
  throw new MillraceError("config", `\`${option}\`: there is no attribute \`${name}\``, {
    hint:
      match === undefined
        ? "name it by its keyword in the standard (PS3.6), such as `PatientID`, or by its tag, such as `00100020`"
        : `did you mean \`${match}\`?`,
  });
}

const seriesKeys = new Set(
  "Modality SeriesInstanceUID SeriesNumber SeriesDescription SeriesDate SeriesTime PerformedProcedureStepStartDate PerformedProcedureStepStartTime BodyPartExamined ProtocolName Laterality StationName Manufacturer ManufacturerModelName DeviceSerialNumber".split(
    " ",
  ),
);
const instanceKeys = new Set(
  "SOPClassUID SOPInstanceUID InstanceNumber Rows Columns NumberOfFrames BitsAllocated ContentDate ContentTime AcquisitionDate AcquisitionTime ImageType".split(
    " ",
  ),
);

/** Where an attribute of `query` is compared. */
export const levelOf = ({ name }: Attribute): Level =>
  seriesKeys.has(name) ? "series" : instanceKeys.has(name) ? "instances" : "studies";

/** What servers give of each level (PS3.18, tables 10.6.3-3 to 10.6.3-5), as far as it makes a column. */
const shown: Record<Level, readonly string[]> = {
  studies:
    "StudyInstanceUID PatientID PatientName PatientBirthDate PatientSex StudyDate StudyTime StudyID StudyDescription AccessionNumber ReferringPhysicianName ModalitiesInStudy NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances InstanceAvailability".split(
      " ",
    ),
  series:
    "StudyInstanceUID SeriesInstanceUID PatientID StudyDate Modality SeriesNumber SeriesDescription PerformedProcedureStepStartDate PerformedProcedureStepStartTime NumberOfSeriesRelatedInstances InstanceAvailability".split(
      " ",
    ),
  instances:
    "StudyInstanceUID SeriesInstanceUID SOPInstanceUID SOPClassUID PatientID StudyDate Modality SeriesNumber InstanceNumber Rows Columns BitsAllocated NumberOfFrames InstanceAvailability".split(
      " ",
    ),
};

/** Attributes that have several values. Of another one with several the texts are joined as DICOM does, with backslashes. */
const lists = new Set(
  "ModalitiesInStudy SOPClassesInStudy ImageType PixelSpacing ImagePositionPatient ImageOrientationPatient WindowCenter WindowWidth OtherPatientIDs OperatorsName PerformingPhysicianName PhysiciansOfRecord".split(
    " ",
  ),
);

/** One column, and the attribute that it shows; none: all of them. */
export interface Shown {
  column: Column;
  attribute?: Attribute;
}

export function typeOfVr(vr: string): "date" | "time" | "long" | "double" | "string" {
  if (vr === "DA") return "date";
  if (vr === "TM") return "time";
  if (["IS", "US", "SS", "UL", "SL", "SV", "XS"].includes(vr)) return "long";
  if (["DS", "FL", "FD"].includes(vr)) return "double";
  return "string";
}

/** The columns of a table, the attributes that the user adds among them. Throws `config`. */
export function shownOf(level: Level, more: readonly string[]): Shown[] {
  const attributes = [...shown[level], ...more].map((name) => attributeOf(name, "attributes"));
  const once = [...new Map(attributes.map((attribute) => [attribute.name, attribute])).values()];
  return [
    ...once.map((attribute): Shown => {
      const type = typeOfVr(attribute.vr);
      const column: Column = {
        name: attribute.name,
        type: lists.has(attribute.name) ? { type: "list", element: type } : type,
      };
      return { column, attribute };
    }),
    { column: { name: "tags", type: "string", doc: "All attributes that the server gave, by name, as JSON." } },
  ];
}
